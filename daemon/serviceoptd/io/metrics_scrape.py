"""Reading a service's own metrics: Prometheus' text format, as much of it as counters, gauges and histograms need.

After "Exposition formats" of the Prometheus documentation. A series with several label sets, such as one for each of
several engines behind one server, counts as their sum.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from serviceopt_journal.errors import ServiceoptError
from serviceopt_journal.metric_table import ALL_LATENCIES, PREEMPTIONS, TTFT
from serviceoptd.domain.stopping.service_counters import Counters, Distribution, EngineCounters
from serviceoptd.io.http_probe import probe
from serviceoptd.toolkit.interface import HttpProbe

NEEDED = ("tokens", "finished", "running")
SCHEDULING = (("running", ""), ("steps", "_count"), ("prompt_tokens", ""), ("kv_usage", ""))
"""What changes as an engine schedules, with the end of the series' name."""
FAILED = re.compile(r'\bfinished_reason="(?:abort|error)"')

_SAMPLE = re.compile(r"([A-Za-z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?")
_EDGE = re.compile(r'\ble="([^"]+)"')


class UnusableMetrics(ServiceoptError):
    """The service's metrics do not tell how a measurement goes."""


class NothingCounted(UnusableMetrics):
    """The page answers and lacks a series: it has another name, or appears with the first request, as SGLang's do."""


@dataclass(frozen=True)
class Sample:
    """One line: a series' name, its labels as they are written, its value."""

    name: str
    labels: str
    value: float


async def scrape(
    endpoint: HttpProbe, series: Mapping[str, Sequence[str]], limit: float, *, absent_is_zero: bool = False
) -> Counters:
    """What the service counts now, asked within `limit` seconds.

    Raises:
        UnusableMetrics: no such page.
        NothingCounted: no series of these names on it, unless `absent_is_zero`.
    """
    answer = await probe(endpoint, limit)
    now = time.monotonic()
    where = f"http://{endpoint.host}:{endpoint.port}{endpoint.path}"
    if answer.status != endpoint.status:
        raise UnusableMetrics(f"GET {where}: {answer.error or f'status {answer.status}'}")
    try:
        return await asyncio.to_thread(lambda: counters(samples(answer.body), series, now, absent_is_zero))
    except UnusableMetrics as unusable:
        raise type(unusable)(f"GET {where}: {unusable.message}", hint=unusable.hint) from unusable


def samples(text: str) -> list[Sample]:
    """The lines that are samples; what is no number or no sample is left out."""
    found: list[Sample] = []
    for line in text.splitlines():
        match = None if line.startswith("#") else _SAMPLE.fullmatch(line.strip())
        if match is None:
            continue
        try:
            value = float(match[3])
        except ValueError:
            continue
        if not math.isnan(value):
            found.append(Sample(match[1], match[2] or "", value))
    return found


def counters(
    found: Sequence[Sample], series: Mapping[str, Sequence[str]], now: float, absent_is_zero: bool = False
) -> Counters:
    """The service's counters, read from these samples.

    `series`: what is looked for -> its names, of which the first that is there counts.

    Raises:
        NothingCounted: a number that early stopping cannot do without is not there, unless `absent_is_zero`.
    """
    by_name: dict[str, list[Sample]] = {}
    for sample in found:
        by_name.setdefault(sample.name, []).append(sample)

    def chosen(key: str, suffix: str = "") -> list[Sample]:
        return next((by_name[name + suffix] for name in series.get(key, ()) if name + suffix in by_name), [])

    if not absent_is_zero and (missing := [key for key in NEEDED if not chosen(key)]):
        names = ", ".join("/".join(series.get(key, ())) or key for key in missing)
        raise NothingCounted(f"{names} not found", hint="name the service's series in [early_stopping.series]")

    def distribution(key: str) -> Distribution:
        return Distribution(_sum(chosen(key, "_count")), _sum(chosen(key, "_sum")), _buckets(chosen(key, "_bucket")))

    latencies: dict[str, Distribution] = {
        key: distribution(key) for key in ALL_LATENCIES if chosen(key, "_count") and chosen(key, "_sum")
    }
    ended = chosen("ended_prompt_tokens", "_sum"), chosen("ended_output_tokens", "_sum")
    engine = None
    # the steps of several engines run at the same time: their sum says nothing of how long one takes
    if len(chosen("steps", "_count")) == 1 and chosen("prompt_tokens") and all(ended) and TTFT in latencies:
        engine = EngineCounters(
            steps=distribution("steps"),
            prompt_tokens=_sum(chosen("prompt_tokens")),
            cached_tokens=_sum(chosen("cached_tokens")),
            ended_tokens=sum(map(_sum, ended)),
        )
    return Counters(
        time=now,
        latencies=latencies,
        tokens=_sum(chosen("tokens")),
        finished=_sum(chosen("finished")),
        in_flight=_sum(chosen("running")) + _sum(chosen("waiting")),
        failed=_sum([sample for sample in chosen("finished") if FAILED.search(sample.labels)]),
        preemptions=_sum(chosen(PREEMPTIONS)) if chosen(PREEMPTIONS) else None,
        running=_sum(chosen("running")),
        engine=engine,
        scheduler=tuple(_sum(chosen(key, suffix)) for key, suffix in SCHEDULING),
    )


def _sum(found: Sequence[Sample]) -> float:
    return sum(sample.value for sample in found)


def _buckets(found: Sequence[Sample]) -> tuple[tuple[float, float], ...]:
    edges: dict[float, float] = {}
    for sample in found:
        if (match := _EDGE.search(sample.labels)) and re.fullmatch(r"\+Inf|[\d.eE+-]+", match[1]):
            edge = float(match[1])
            edges[edge] = edges.get(edge, 0.0) + sample.value
    return tuple(sorted(edges.items()))
