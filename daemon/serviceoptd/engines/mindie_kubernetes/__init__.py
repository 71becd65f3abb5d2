"""MindIE with prefill and decode apart, on Kubernetes: a supervisor of ours drives the user's deployment scripts.

Read first: `engine.py` (what is planned), then `supervisor.py` (the child process that deploys, waits and deletes).
"""
