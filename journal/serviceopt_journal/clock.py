"""The clocks that a record carries. They are recorded facts; nothing is ever ordered by them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """What the journal asks when it stamps a commit. Tests pass one that stands still."""

    def wall(self) -> float:
        """Seconds since the epoch."""

    def monotonic(self) -> float:
        """Seconds since some moment of this boot, never going back."""

    def boot_id(self) -> str:
        """The kernel's identifier of this boot: monotonic times compare only under the same one."""


class SystemClock:
    """The clocks of this machine."""

    def __init__(self) -> None:
        self._boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()

    def wall(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since this machine was started (CLOCK_MONOTONIC)."""
        return time.monotonic()

    def boot_id(self) -> str:
        """The kernel's identifier of this boot."""
        return self._boot_id
