"""The result of one measurement. Lives here because events carry it; every other room imports it from here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict, cast

import msgspec

from .metric_table import ALL_LATENCIES, METRIC, LatencyName

Latency = dict[str, float]
"""Statistic -> seconds. Statistics are `mean`, `min`, `max` and percentiles such as `p50`, `p99`, `p99.9`."""

NOT_TOLD = -1.0
"""The throughput and the success rate of a result from a file that does not tell them; every objective misses them."""


class Tail(msgspec.Struct, frozen=True, kw_only=True):
    """What the single requests of a measurement tell of one percentile (domain/order_statistics.py)."""

    requests: int  # whose latency is known
    limit: float  # seconds: of the SLO when it was measured
    above: int  # requests that took longer than that
    low: float  # seconds: the percentile's distribution-free 95 % interval
    high: float | None  # None: too few requests for an upper end
    dependence: float = 1.0  # neighbouring requests that tell as much as one would by itself


class Metrics(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The result of one benchmark at one load, in the project's units."""

    generate_speed: float  # output tokens/s
    throughput: float  # completed requests/s
    success_rate: float  # completed / sent, 0..1
    completed: int  # requests
    failed: int  # requests
    duration: float  # seconds of the measured part, as the client reports it
    ttft: Latency  # time to first token
    tpot: Latency  # time per output token after the first
    e2el: Latency = {}  # end-to-end latency of a request
    itl: Latency = {}  # inter-token latency
    goodput: float | None = None  # requests/s that met every SLO; None where the client does not report it
    input_tokens: int | None = None
    output_tokens: int | None = None
    tails: dict[
        str, Tail
    ] = {}  # of each percentile that an SLO limits, such as `ttft p99`; empty: no single requests known
    preemptions: int | None = None  # in the service meanwhile; None: it does not report them, or was not asked


class LatencyFields(TypedDict):
    """The latencies among the keyword arguments of `Metrics`."""

    ttft: Latency
    tpot: Latency
    e2el: Latency
    itl: Latency


def latency_fields(found: Mapping[LatencyName, Latency]) -> LatencyFields:
    """The latencies by name as keyword arguments of `Metrics`; one that was not found has no statistic."""
    return cast(LatencyFields, {name: found.get(name, {}) for name in ALL_LATENCIES})


def latency_of(metrics: Metrics, name: LatencyName) -> Latency:
    """The statistics of one latency, in seconds."""
    return cast(Latency, getattr(metrics, name))


def column_value(metrics: Metrics, key: str) -> float | None:
    """What stands in the column of a metric: a latency's mean; None where it is not told."""
    value = getattr(metrics, key)
    if METRIC[key].abbreviation:
        value = value.get("mean")
    return None if value == NOT_TOLD else cast("float | None", value)
