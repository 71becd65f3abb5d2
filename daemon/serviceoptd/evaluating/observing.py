"""Looking at a service's own metrics while a client measures it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from msgspec.structs import replace

from serviceopt_journal.metrics import Metrics
from serviceoptd.domain.settings import EarlyStopping, Objective, RunSettings
from serviceoptd.domain.stopping.early_stopping import Stakes, Verdict, verdict
from serviceoptd.domain.stopping.service_counters import Counters, observed
from serviceoptd.engines.interface import ServicePlan
from serviceoptd.io.log_follower import LogFollower
from serviceoptd.io.metrics_scrape import NothingCounted, UnusableMetrics, scrape
from serviceoptd.toolkit.interface import HttpProbe, MetricsPage

EAGER = 0.2  # seconds between two looks for the first request, and for the last one of a client that was ended
LEAST_SHARE = 0.05
"""Of the requests that a client saw completed the service must have finished so many; others' requests only add to them."""
COUNTS, BETWEEN_COUNTS = 5, 0.3
"""Counters may be told late: looks, and seconds between them, before a client is disbelieved."""


def metrics_page(plan: ServicePlan, early: EarlyStopping, *, profile: bool = False) -> MetricsPage | None:
    """Where the service tells how it goes; None: it does not, or neither early stopping nor the `profile` store asks."""
    page = plan.metrics
    if early.url:
        parts = urlsplit(early.url)
        host, port = plan.listens_on or ("127.0.0.1", 80)
        path = (parts.path or "/metrics") + (f"?{parts.query}" if parts.query else "")
        there = HttpProbe(parts.hostname or host, (parts.port or 80) if parts.hostname else port, path)
        page = MetricsPage(there, page.series if page else {})
    if page is None or not (early.enabled or profile):
        return None
    series: Mapping[str, Sequence[str]] = {**page.series, **{key: (name,) for key, name in early.series.items()}}
    return MetricsPage(page.endpoint, series)


class Observer:
    """One measurement, look by look. What it knows is lost with the process; so is the measurement."""

    def __init__(self, page: MetricsPage, settings: RunSettings, main_run: str, warm_up: int, output: Path) -> None:
        """`main_run`: text of the line of the client's `output` after which the measured requests are sent; without
        one they are taken to begin when `warm_up` requests have finished."""
        self.looks: list[Counters] = []  # since the first measured request was seen
        self.at_rest: Counters | None = None  # the first look at which no request was in flight
        self.remark = ""  # why nothing could be seen
        self._page, self._interval, self._http_limit = page, settings.early_stopping.interval, settings.limits.http
        self._log, self._main_run, self._warm_up = LogFollower(output), main_run, warm_up
        self._asked = False

    async def verdict(self, stakes: Stakes | None) -> Verdict:
        """Looks until the measurement may be ended; does not return before. Without stakes it only looks."""
        try:
            await self._begin()
            while True:
                found = verdict(self.looks, stakes) if stakes is not None else None
                if found is not None:
                    return found
                await asyncio.sleep(self._interval)
                await self._look()
        except UnusableMetrics as unusable:
            self._give_up(unusable)
        nothing_more: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        return await nothing_more

    async def last_look(self) -> None:
        """Looks at the counters once more, when the client has ended."""
        try:
            if self.looks and not self.remark:
                await self._look()
            elif not self.remark and self._asked:
                await self._scrape()  # what is still not there then has another name
        except UnusableMetrics as unusable:
            self._give_up(unusable)

    async def _look(self) -> None:
        found = await self._scrape()
        if found.restarted_since(self.looks[-1]):
            raise UnusableMetrics("the service's counters decreased")
        self.looks.append(found)

    def served(self, objective: Objective) -> Metrics | None:
        """What the service counted; rates over the time in which it had requests. None: too little was seen."""
        busy = [look for look in self.looks[1:] if look.in_flight]
        if not busy or self.remark:
            return None
        whole = observed(self.looks[-1].since(self.looks[0]), objective)
        rates = observed(busy[-1].since(self.looks[0]), objective)
        return replace(whole, generate_speed=rates.generate_speed, throughput=rates.throughput, duration=rates.duration)

    async def idle(self, limit: float) -> float | None:
        """Seconds until no request runs or waits any more; None: some still do after `limit`."""
        begun = time.monotonic()
        while (waited := time.monotonic() - begun) < limit:
            try:
                if not (await self._scrape()).in_flight:
                    return waited
            except UnusableMetrics as unusable:
                self.remark = unusable.message
            await asyncio.sleep(EAGER)
        return None

    def _give_up(self, unusable: UnusableMetrics) -> None:
        self.remark = f"early stopping could not read the service's metrics: {unusable.message}"

    async def _begin(self) -> None:
        """The first look is one at which a measured request runs or has been answered."""
        await self._counted()  # while the client starts: the service is at rest
        while self._main_run and not any(self._main_run in line for line in self._log.lines()):
            await asyncio.sleep(min(EAGER, self._interval))
        before = await self._counted()
        warm_up = 0 if self._main_run else self._warm_up
        while True:
            if (found := await self._counted()) is not None:
                added = found if before is None else found.since(before)
                if added.finished >= warm_up and (found.in_flight or added.finished > warm_up):
                    self.looks.append(found)
                    return
            await asyncio.sleep(min(EAGER, self._interval))

    async def _counted(self) -> Counters | None:
        """None: its counters are not there yet, as of a service that has never had a request."""
        self._asked = True
        try:
            return await self._scrape()
        except NothingCounted:
            return None

    async def _scrape(self) -> Counters:
        found = await scrape(self._page.endpoint, self._page.series, self._http_limit)
        if self.at_rest is None and not found.in_flight:
            self.at_rest = found
        return found


@dataclass(frozen=True)
class ServedRequests:
    """A service's count of finished requests, before a client was started."""

    page: MetricsPage
    before: float
    limit: float  # seconds of one look

    @classmethod
    async def counted(cls, page: MetricsPage | None, limit: float) -> ServedRequests | None:
        """None: the service does not count them, or tells nobody."""
        # counters that appear with the first request begin at 0
        found = await _finished(page, limit, absent_is_zero=True) if page is not None else None
        return cls(page, found, limit) if page is not None and found is not None else None

    async def contradict(self, metrics: Metrics) -> str:
        """Why the client's result is not about this service; empty where it may be."""
        served = 0.0
        for attempt in range(COUNTS):
            if attempt:
                await asyncio.sleep(BETWEEN_COUNTS)
            now = await _finished(self.page, self.limit)
            if now is None or now < self.before:  # it is not told any more, or by another process
                return ""
            if (served := now - self.before) >= LEAST_SHARE * metrics.completed:
                return ""
        return (
            f"the client says that {metrics.completed} requests completed, and the service itself finished "
            f"{served:g}: another server was measured"
        )


async def _finished(page: MetricsPage, limit: float, *, absent_is_zero: bool = False) -> float | None:
    try:
        return (await scrape(page.endpoint, page.series, limit, absent_is_zero=absent_is_zero)).finished
    except UnusableMetrics:
        return None
