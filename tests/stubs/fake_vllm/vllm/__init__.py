"""As much of vLLM as the step recorder touches, by the names of 0.32.0."""

__version__ = "0.32.0"
