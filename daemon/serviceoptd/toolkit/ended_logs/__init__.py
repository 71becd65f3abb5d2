"""Why a service or a client ended, read from its log.

Pure. Read first: `root_cause.py`; it rests on `log_lines.py` (what a line says) and `failure_phrases.py` (of what kind).
"""
