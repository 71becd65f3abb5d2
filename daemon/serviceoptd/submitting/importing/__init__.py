"""The predecessor's results as history: a run that is over, and is never taken for one of ours.

Reads the file and writes events through the ledger. May import `evaluating` and what lies below.
Read first: `importing.py`, then `predecessor_table.py`.
"""
