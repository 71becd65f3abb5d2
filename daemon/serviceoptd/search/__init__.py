"""Search strategies: each is told what was measured and asked for the next particle.

Pure; numerical libraries are imported when a strategy is first asked. May import `domain`.
Read first: `interface.py`, then `particle_swarm.py` (the plain swarm) and `swarm.py` (the default, over its models).
"""
