"""One evaluation: proposing a particle, launching its service, measuring it, stopping it. Each file is one step.

The policy decides, these carry out: every effect is announced by an event before and closed by one after it.
May import what lies below `submitting`.
Read first: `launching.py`, then `measuring.py` and `ledger.py` (who writes events).
"""
