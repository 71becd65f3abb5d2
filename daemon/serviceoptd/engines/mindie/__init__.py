"""MindIE on one machine. Read first: `engine.py`; the laws of its parameters are in `limits.py` and `bounds.py`."""
