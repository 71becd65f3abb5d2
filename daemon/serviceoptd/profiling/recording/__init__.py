"""`profile`: a stock vLLM records its own steps while the real client measures it.

Starts a service and a client, and writes below the output directory. May import what lies below `profiling`.
Read first: `profiling.py`, then `recorded_service.py`.
"""
