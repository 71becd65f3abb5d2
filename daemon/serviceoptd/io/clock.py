"""Time as a dependency, so that everything above can be run with a clock of its own."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Clock(Protocol):
    """Where the time of an event comes from."""

    def wall(self) -> float:
        """Seconds since the epoch, UTC. May jump."""

    def monotonic(self) -> float:
        """Seconds since some point of this boot. Never goes back; only differences within one boot mean anything."""

    def boot_id(self) -> str:
        """Another text after every boot: tells whether two monotonic times, or two pids, can be compared."""


class SystemClock:
    """The clock of this machine."""

    def wall(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def boot_id(self) -> str:
        """The kernel's boot id; empty where /proc does not tell it."""
        try:
            return _BOOT_ID.read_text(encoding="ascii").strip()
        except OSError:
            return ""
