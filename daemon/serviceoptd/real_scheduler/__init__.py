"""The scheduler of an installed vLLM on our virtual clock: the last word on what a batch would be."""
