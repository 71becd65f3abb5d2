"""The client `vllm bench serve`.

Read first: `client.py`, then `result.py` (what its document tells, and what is not believed).
"""
