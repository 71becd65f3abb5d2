"""One line of `serviceoptctl doctor`."""

from __future__ import annotations

from serviceopt_journal.documents.local import Finding

__all__ = ["Finding", "fail", "ok", "warn"]


def ok(name: str, message: str) -> Finding:
    """Reports that nothing needs to be done."""
    return Finding(name, "ok", message)


def warn(name: str, message: str, hint: str = "") -> Finding:
    """Reports what may disturb a run, but does not keep it from starting."""
    return Finding(name, "warn", message, hint)


def fail(name: str, message: str, hint: str = "") -> Finding:
    """Reports what keeps a run from working."""
    return Finding(name, "fail", message, hint)
