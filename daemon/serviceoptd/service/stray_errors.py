"""Errors that nobody awaits: those of callbacks, of tasks that were dropped, and of the event loop itself."""

from __future__ import annotations

import asyncio
from traceback import extract_tb
from typing import Any

import structlog

from serviceoptd.evaluating.surroundings.lacks import heals
from serviceoptd.io.log import Seldom

LOG = structlog.get_logger("serviceoptd")


def log_seldom(running: asyncio.AbstractEventLoop) -> None:
    """Logs such errors of this loop, the same one at once, and then once a minute at most with how often it came.

    The loop would print each with its traceback, and what fails for want of descriptors fails in every turn of it.
    """
    seldom = Seldom()

    def told(_running: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        message, error = str(context.get("message", "unexpected error")), context.get("exception")
        times = seldom.times((type(error), getattr(error, "errno", None), _place(error) or message))
        if not times:
            return
        if error is not None and heals(error):
            LOG.warning(message, reason=str(error) or type(error).__name__, times=times)
        else:
            LOG.error(message, times=times, exc_info=error)

    running.set_exception_handler(told)


def _place(error: BaseException | None) -> tuple[str, int] | None:
    """Where it was raised: the loop's message names the callback with its arguments, and so differs each time."""
    frames = extract_tb(error.__traceback__, limit=-1) if error is not None else []
    return (frames[0].filename, frames[0].lineno or 0) if frames else None
