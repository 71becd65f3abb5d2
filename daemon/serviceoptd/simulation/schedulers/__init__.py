"""How engines put batches together: the schedulers of vLLM and MindIE, and the parameters that limit them.

Pure. Imports `virtual_clock`.
Read first: `limits.py` (from parameters to a scheduler), then `vllm.py` or `mindie.py`.
"""
