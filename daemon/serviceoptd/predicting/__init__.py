"""Asking a trained latency model: its file, its section of the configuration, what it predicts, how right it was.

Reads model files and data sets, and may run vLLM's own scheduler in a child process. May import `simulation` and `io`.
Read first: `prediction.py`, then `validation.py` (the command `trust`).
"""
