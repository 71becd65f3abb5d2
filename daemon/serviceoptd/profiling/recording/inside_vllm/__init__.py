"""The one module that vLLM itself imports: this directory, and nothing else of ours, is on its PYTHONPATH."""
