"""Effects at the edge: processes, cgroups, probes, devices, watched files, systemd. No decisions.

The one room that starts and ends services. May import `domain` and `toolkit` for their types.
Read first: `processes.py`, then `readiness.py` and `reaping.py`.
"""
