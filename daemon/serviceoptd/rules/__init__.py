"""Rejection rules: each judges a proposed configuration before its evaluation, and says on what it rests.

Pure. May import `domain`, `search` and `simulation`.
Read first: `interface.py`, then `declared.py`, the smallest.
"""
