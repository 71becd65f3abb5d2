"""One line of `serviceoptctl doctor`."""

from __future__ import annotations

from serviceopt_journal.documents.local import Finding

__all__ = ["Finding", "fail", "ok", "warn"]


def ok(name: str, message: str) -> Finding:
    """It is as it should be."""
    return Finding(name, "ok", message)


def warn(name: str, message: str, hint: str = "") -> Finding:
    """A run may start, and may not like it."""
    return Finding(name, "warn", message, hint)


def fail(name: str, message: str, hint: str = "") -> Finding:
    """A run cannot work."""
    return Finding(name, "fail", message, hint)
