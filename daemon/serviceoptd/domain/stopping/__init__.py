"""When a measurement may end before its client does: what the service's counters say, and what the result will be.

Pure. Rests on `statistics`; the watching itself is `evaluating/observing.py`.
Read first: `early_stopping.py`, then `projected_result.py` (what the result will be).
"""
