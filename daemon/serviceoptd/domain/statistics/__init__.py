"""How well a number is known: intervals, percentiles of single requests, means of batches, reproducible draws.

Pure. Imports `domain.settings` only; everything else of the domain may use it.
Read first: `confidence.py`.
"""
