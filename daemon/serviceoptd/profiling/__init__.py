"""Data for `train`: recording a stock vLLM, and reading what was recorded, here or by the predecessor's tools.

`recording/` starts a service and a client for the command `profile`; `data/` only reads.
Read first: `recording/profiling.py`, then `data/reading.py`.
"""
