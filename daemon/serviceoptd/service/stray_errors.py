"""Errors that nobody awaits: those of callbacks, of tasks that were dropped, and of the event loop itself."""

from __future__ import annotations

import asyncio
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
        times = seldom.times((message, type(error), getattr(error, "errno", None)))
        if not times:
            return
        if error is not None and heals(error):
            LOG.warning(message, reason=str(error) or type(error).__name__, times=times)
        else:
            LOG.error(message, times=times, exc_info=error)

    running.set_exception_handler(told)
