"""One evaluation: proposing a particle, launching its service, measuring it, stopping it. Each file is one step.

The policy decides, these carry out: every effect is announced by an event before and closed by one after it.
`live_service.py` and `measurement.py` say what a launch and a measurement are, as data and events, without effects.
May import what lies below `submitting`.
Read first: `launching.py`, then `measuring.py` and `ledger.py` (who writes events).
"""
