"""The one module that runs in vLLM's own environment, as a program. Nothing else of ours is importable there."""
