"""How long the requests of a benchmark are where its data set is a file.

Read first: `lengths.py`; then `kinds.py` (what each client takes of a record), `records.py` and `tokens.py`.
"""
