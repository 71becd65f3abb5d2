"""The benchmark client GuideLLM. Read first: `client.py`, then `result.py` (what its document tells)."""
