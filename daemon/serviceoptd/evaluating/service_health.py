"""Whether a service that was ready can still be measured: it may live and have lost its engine, or hang."""

from __future__ import annotations

import asyncio
import time

from serviceopt_journal.events import ServiceFailed
from serviceoptd.domain.failures import DEAD_ENGINE, HUNG_ENGINE
from serviceoptd.domain.settings import RunSettings
from serviceoptd.domain.stopping.service_counters import Counters
from serviceoptd.evaluating.live_service import LiveService
from serviceoptd.evaluating.measurement import Failure
from serviceoptd.io.http_probe import Answer, probe
from serviceoptd.io.metrics_scrape import UnusableMetrics, scrape
from serviceoptd.io.process_table import computed
from serviceoptd.toolkit.ended_logs.root_cause import last_words
from serviceoptd.toolkit.interface import HttpProbe, MetricsPage

TRIES, PAUSE = 3, 0.5
"""How often readiness is asked for in vain, and the seconds between, before a service counts as dead."""
LOOKS = 5
"""So many looks at least are taken within the time after which a service counts as hung."""
PART_OF_THE_MEASUREMENT = 0.5
"""Longer than this share of the limit of a measurement is never waited for a token."""
COMPUTING, LONGER = 0.2, 3
"""From so many busy cores on average on a service that counts nothing is given so many times as long: a prefill that is
one step may take minutes. Not for ever: processes that wait in vain for a device or for each other may be busy, too."""


async def not_ready_any_more(live: LiveService, limit: float) -> str:
    """What its readiness check answers now (`limit` seconds a request); empty where that is good, or there is none."""
    probes = live.plan.ready if isinstance(live.plan.ready, tuple) else (live.plan.ready,)
    for each in probes:
        if isinstance(each, HttpProbe) and (told := await _refused(each, limit)):
            return told
    return ""


async def died_in_its_log(live: LiveService, since: int, length: int) -> str:
    """What our service has logged of its engine's death from this byte on, though its server answers; else empty."""
    if live.child is None:
        return ""
    told = last_words(await asyncio.to_thread(live.log.written_since, since))
    return f"its log says: {told[:length].rstrip()}" if told else ""


async def forget_cached_prefixes(live: LiveService, limit: float) -> tuple[bool, str]:
    """Whether the service has dropped its prefix cache, and why it seems to be dead; empty where it does not.

    Not to offer such a thing is no sign of death: only an error of the server's own, or no answer, is.
    """
    if (reset := live.plan.reset_cache) is None:
        return False, ""
    answer = await probe(reset, limit)
    broken = answer.status is None or answer.status >= 500
    return answer.status == reset.status, _told(reset, answer) if broken else ""


def dead(told: str, meanwhile: str = "") -> Failure:
    """The failure of a service whose process lives and whose engine is dead."""
    reason = f"the engine of the service is dead ({told}){f'; {meanwhile}' if meanwhile else ''}"
    return Failure("service", reason, service="retryable", cause=DEAD_ENGINE)


def launched_anew(live: LiveService, told: str) -> ServiceFailed:
    """That a service is dead before what is due on it has begun: nothing of the run is to blame, and it starts again."""
    return ServiceFailed(
        run=live.run,
        evaluation=live.evaluation,
        attempt=live.attempt,
        kind="retryable",
        reason=dead(told).reason,
        will_retry=True,
        cause=DEAD_ENGINE,
    )


async def watch_progress(page: MetricsPage, live: LiveService, settings: RunSettings) -> Failure:
    """Returns only when requests have been in flight for too long without any progress that the service counts."""
    limits = settings.limits
    longest = PART_OF_THE_MEASUREMENT * limits.measurement
    patience = min(limits.stall, longest)
    pause = min(settings.early_stopping.interval, patience / LOOKS)
    latest: Counters | None = None
    since = time.monotonic()  # of the last progress
    spent: float | None = None  # seconds of processor time when it was first missed
    while True:
        try:
            found = await scrape(page.endpoint, page.series, limits.http, absent_is_zero=True)
        except UnusableMetrics as unusable:
            if latest is None:  # it tells nothing of the kind
                await asyncio.Event().wait()
            if time.monotonic() - since >= patience and (told := await not_ready_any_more(live, limits.http)):
                return _hung(f"neither its metrics ({unusable.message}) nor its readiness check answer ({told})")
        else:
            if latest is None or not found.in_flight or _progress(found) != _progress(latest):
                since, spent = time.monotonic(), None
            elif spent is None:
                spent = await _computed(live)
            latest = found
            if (waited := time.monotonic() - since) >= patience:
                busy = await _computed(live) - (spent or 0.0) >= COMPUTING * waited
                if not busy or waited >= min(LONGER * patience, longest):
                    told = f"{found.in_flight:g} requests are in flight, and for {waited:.0f} s no token came"
                    return _hung(told + ", though its processes computed" * busy)
        await asyncio.sleep(pause)


def _hung(told: str) -> Failure:
    return Failure("service", f"the engine of the service hangs: {told}", service="retryable", cause=HUNG_ENGINE)


def _progress(counted: Counters) -> tuple[float, ...]:
    # Requests that wait are no sign: a client goes on sending to an engine that hangs.
    first_tokens = sum(latency.count for latency in counted.latencies.values())
    return (counted.tokens, counted.finished, first_tokens, *counted.scheduler)


async def _computed(live: LiveService) -> float:
    """Seconds of processor time that the service's processes have used, as far as they are ours."""
    return await asyncio.to_thread(computed, live.child.pid) if live.child is not None else 0.0


async def _refused(request: HttpProbe, limit: float) -> str:
    for attempt in range(TRIES):
        if attempt:
            await asyncio.sleep(PAUSE)
        answer = await probe(request, limit)
        if answer.status == request.status:
            return ""
    return _told(request, answer)


def _told(request: HttpProbe, answer: Answer) -> str:
    return f"{request.method} {request.path}: {answer.error or f'status {answer.status}'}"
