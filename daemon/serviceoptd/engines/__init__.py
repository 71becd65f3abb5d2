"""Engines: each describes one kind of service, its command line and its signs of life, and starts nothing itself.

Every one is found by an entry point, as a plugin's is. May import `toolkit`, `predicting` and what lies below.
Read first: `interface.py`, then `vllm.py`.
"""
