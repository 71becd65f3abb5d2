"""What to do next, and doing it: the daemon that tunes a service."""

__version__ = "0.1.0"
