"""When a run is held for people to look at it, since going on would fail as before.

Pure. Rests on `failures.py` and `space`.
Read first: `failing_alike.py` (its configurations fail), then `interruptions.py` (what surrounds it fails).
"""
