"""A proposed point: what became of it, and how rightly it was given up.

Pure. Rests on `objective.py` and `stopping`.
Read first: `particle.py`, then `rejections.py` (what rules gave up).
"""
