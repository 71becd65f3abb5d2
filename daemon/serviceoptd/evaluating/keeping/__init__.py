"""What is kept of an evaluation, and which of its files are removed when.

Read first: `kept.py` (what events refer to by its hash), then `backup.py` and `pruning.py`.
"""
