"""The running daemon: the loop that works on one run at a time, and the API that answers meanwhile.

May import every other room. Read first: `loop.py`, then `daemon.py` and `api.py`.
"""
