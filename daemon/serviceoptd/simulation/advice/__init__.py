"""A simulator beside a search on a real engine: what it advises, and how far it is believed.

Pure. Knows a simulator by its interface; `predicting/advisor.py` is the real one.
Read first: `simulator.py`, then `advice.py`.
"""
