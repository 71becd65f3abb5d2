"""The time line: requests arrive, steps take their predicted time, and the client's figures follow.

Pure. Knows a scheduler by its interface only.
Read first: `interface.py`, then `timeline.py`.
"""
