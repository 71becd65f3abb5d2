"""How the winner is proven: which finalist is measured next, and what may be said of the best.

Pure. Rests on `statistics` and on the run's state.
Read first: `racing.py` (who is measured next), then `proof.py` (what it shows).
"""
