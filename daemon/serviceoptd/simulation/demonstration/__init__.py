"""The invented machine behind the embedded engine of `make demo`: plausible, reproducible, and labelled as simulated.

Pure. Its numbers are nobody's measurements.
Read first: `engine.py`.
"""
