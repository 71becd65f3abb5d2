"""Benchmark clients: each describes how its load is set, where its result lies, and when that must not be believed.

Every one is found by an entry point, as a plugin's is. May import `toolkit` and what lies below; starts nothing.
Read first: `interface.py`, then `vllm_benchmark/client.py` and `result_checks.py`.
"""
