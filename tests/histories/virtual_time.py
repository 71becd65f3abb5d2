"""A clock that moves only when nothing else is left to do, and the event loop that moves it."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from typing import Any

BEGIN = 1_772_366_400.0  # seconds since the epoch: 2026-03-01 12:00:00 UTC


class VirtualClock:
    """Seconds of a machine that is started at 1,000 s; its wall clock can be set."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.wall_shift = BEGIN - self.now
        self.boots = 1

    def wall(self) -> float:
        """Seconds since the epoch."""
        return self.now + self.wall_shift

    def monotonic(self) -> float:
        """Seconds since some moment of this boot."""
        return self.now

    def boot_id(self) -> str:
        """A name for each boot."""
        return f"{self.boots:08x}-0000-4000-8000-000000000000"

    def set_wall(self, by: float) -> None:
        """Somebody sets the wall clock `by` seconds forward, or back."""
        self.wall_shift += by


class Stuck(Exception):
    """Nothing is due, ever: the daemon waits for what cannot come."""


class _Selector(selectors.DefaultSelector):
    """Waits by moving the clock: `pass_time` is given the seconds that the loop would sleep."""

    pass_time: Callable[[float | None], None]

    def select(self, timeout: float | None = None) -> Any:
        # Beside the loop's own pipe, which nobody writes to without a thread, there is hardly ever anything to ask for.
        found = super().select(0) if len(self.get_map()) > 1 else []
        if not found:
            self.pass_time(timeout)
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time, whose threads run at once and whose signal handlers are called by the world."""

    def __init__(self, clock: VirtualClock, pass_time: Callable[[float | None], None]) -> None:
        self._virtual = clock
        self.signal_handlers: dict[int, Callable[[], object]] = {}
        selector = _Selector()
        selector.pass_time = pass_time
        super().__init__(selector)

    def time(self) -> float:
        """Virtual seconds."""
        return self._virtual.now

    def add_signal_handler(self, sig: int, callback: Callable[..., object], *args: Any) -> None:
        """Keeps the handler, which the world calls."""
        self.signal_handlers[sig] = lambda: callback(*args)

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        """Runs it here and now: no thread, so the order is always the same."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - handed to whoever awaits it
            future.set_exception(error)
        return future
