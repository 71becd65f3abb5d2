"""How things look on a terminal and in a pipe. Takes documents, returns or prints text, asks nobody.

Read first: `text.py` (tables, widths, colours), then `run.py`.
"""
