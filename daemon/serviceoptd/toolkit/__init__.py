"""What descriptions of engines and clients are made of: their shared vocabulary, and tools for command lines and results.

Reads files and asks programs for their version; starts no service and writes nothing. May import `domain`.
Read first: `interface.py`, then `arguments.py`.
"""
