"""One line of `serviceoptctl doctor`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `drop_in` is the text of a drop-in of the unit that mends it."""

    name: str
    level: Literal["ok", "warn", "fail"]
    message: str
    hint: str = ""
    drop_in: str = ""

    def document(self) -> dict[str, Any]:
        """The same for `--json`."""
        return asdict(self)


def ok(name: str, message: str) -> Finding:
    """It is as it should be."""
    return Finding(name, "ok", message)


def warn(name: str, message: str, hint: str = "") -> Finding:
    """A run may start, and may not like it."""
    return Finding(name, "warn", message, hint)


def fail(name: str, message: str, hint: str = "") -> Finding:
    """A run cannot work."""
    return Finding(name, "fail", message, hint)
