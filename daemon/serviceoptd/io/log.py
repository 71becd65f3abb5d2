"""The daemon's own log: JSON lines under systemd, readable ones in a terminal."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Hashable

import structlog

from serviceopt_journal.unseen import visible

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
DEFAULT = "INFO"
_now = {"level": DEFAULT}


def configure(level: str) -> None:
    """Sets up logging to standard error. `level` is one of LEVELS."""
    under_systemd = "JOURNAL_STREAM" in os.environ or "INVOCATION_ID" in os.environ
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if under_systemd
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            *([] if under_systemd else [_visible]),  # JSON escapes whatever is not ASCII
            renderer,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    set_level(level)


def _visible(_logger: object, _method: str, entry: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {
        name: value
        if isinstance(value, int | float | None)
        else visible(value if isinstance(value, str) else repr(value))
        for name, value in entry.items()
    }


def current_level() -> str:
    """The level that was set last."""
    return _now["level"]


def set_level(level: str) -> None:
    """Leaves out messages below `level` from now on."""
    structlog.configure(
        **{
            **structlog.get_config(),
            "wrapper_class": structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
            "cache_logger_on_first_use": False,
        }
    )
    _now["level"] = level


class Seldom:
    """Lets the same thing be told at once, and then at most once in `every` seconds, with how often it happened."""

    MOST = 100
    """Things that are remembered; more than that are not the same thing again and again."""

    def __init__(self, every: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._every, self._clock = every, clock
        self._told: dict[Hashable, tuple[float, int]] = {}  # when it was told last, and how often it happened since

    def times(self, what: Hashable) -> int:
        """How often it has happened since it was told last, with this time; 0: it is not to be told now."""
        now = self._clock()
        if what not in self._told and len(self._told) >= self.MOST:
            self._told.clear()
        when, before = self._told.get(what, (now - self._every, 0))
        if now - when < self._every:
            self._told[what] = (when, before + 1)
            return 0
        self._told[what] = (now, 0)
        return before + 1
