"""Looking at what surrounds an attempt while it lasts: what fails meanwhile for want of it is no result."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from serviceoptd.domain.failures import NO_ROOM
from serviceoptd.evaluating.context import Context
from serviceoptd.evaluating.live_service import LiveService
from serviceoptd.evaluating.surroundings.lacks import SurroundingsLack
from serviceoptd.evaluating.surroundings.room import Places, lacking, places_of
from serviceoptd.toolkit.ended_logs.root_cause import kind_of
from serviceoptd.toolkit.interface import Workplace

EVERY = 0.5  # seconds between two looks


class Watch:
    """What was lacking since the attempt began. Made by `watched`."""

    def __init__(self, context: Context, live: LiveService, workplace: Workplace, places: Places) -> None:
        self._context, self._live, self._workplace, self._places = context, live, workplace, places
        self._seen = ""

    async def look(self) -> None:
        """Looks once, off the loop."""
        found = await asyncio.to_thread(lacking, self._places)
        self._seen = self._seen or found or self._context.ledger.held

    async def look_on(self) -> None:
        """Looks until it is cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            await self.look()

    async def excuse(self, failure: str, cause: str = "") -> None:
        """Lets a failure of the attempt be one, unless something was lacking meanwhile, or is.

        Args:
            failure: what happened, for people.
            cause: its kind, where that is known.

        Raises:
            SurroundingsLack: the failure says nothing of the configuration.
        """
        await self.look()
        if not self._workplace.directory.is_dir():
            self._seen = self._seen or f"{self._workplace.directory} was removed"
        if NO_ROOM in (cause, kind_of(failure)):
            self._seen = self._seen or "by its own words"
        if self._live.ended_by_us:
            self._seen = self._seen or "the service was stopped while nothing could be written"
        if self._seen:
            raise SurroundingsLack(f"{self._seen} ({failure})", self._places)


@asynccontextmanager
async def watched(
    context: Context, live: LiveService, workplace: Workplace, environment: Mapping[str, str]
) -> AsyncIterator[Watch]:
    """A watch for as long as the block lasts. `environment`: what a command of the attempt sets beyond its workplace's."""
    complete = {**workplace.environment, **environment}
    places = await asyncio.to_thread(places_of, context.state_directory, workplace, complete)
    watch = Watch(context, live, workplace, places)
    looking = asyncio.ensure_future(watch.look_on())
    try:
        yield watch
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
