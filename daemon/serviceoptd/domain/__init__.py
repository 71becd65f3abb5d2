"""What a run is and what is due next: states, decisions and numbers, each a function of what it is given.

Pure: no clock, no randomness of its own, no input or output. Imports nothing of the daemon but itself.
Read first: `policy.py` (what is due), then `state.py` and `evolve.py` (how events make a state).
"""
