"""The daemon's own log: JSON lines under systemd, readable ones in a terminal."""

from __future__ import annotations

import logging
import os
import sys

import structlog

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
            renderer,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    set_level(level)


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
