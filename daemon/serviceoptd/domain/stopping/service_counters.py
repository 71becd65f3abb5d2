"""What a service counts about itself while it is measured: counters and histograms, and their differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from serviceopt_journal.metric_table import E2EL, ITL, TPOT, TTFT
from serviceopt_journal.metrics import Latency, Metrics
from serviceoptd.domain.settings import Objective
from serviceoptd.domain.statistics.order_statistics import share_of

BETWEEN_TOKENS = ITL
"""The one latency that is counted once a token; all others are counted once a request."""


@dataclass(frozen=True)
class Distribution:
    """A Prometheus histogram: how many values, their sum in seconds, and how many lie at or below each edge."""

    count: float
    total: float
    buckets: tuple[tuple[float, float], ...] = ()  # (edge in seconds, values at or below it), edges ascending

    def since(self, start: Distribution) -> Distribution:
        """What was added since `start`."""
        before = dict(start.buckets)
        buckets = tuple((edge, count - before.get(edge, 0.0)) for edge, count in self.buckets)
        return Distribution(self.count - start.count, self.total - start.total, buckets)

    def above(self, limit: float) -> float:
        """How many values are surely greater than `limit`: those beyond the first edge that is not below it."""
        return next((self.count - count for edge, count in self.buckets if edge >= limit), 0.0)

    def quantile(self, share: float) -> float | None:
        """Interpolated within its bucket, as Prometheus' histogram_quantile does; None without buckets or values."""
        rank, low, below = share * self.count, 0.0, 0.0
        for edge, count in self.buckets:
            if count >= rank and count > below:
                finite = edge != float("inf")
                return low + (edge - low) * (rank - below) / (count - below) if finite else low
            low, below = edge, count
        return None


@dataclass(frozen=True)
class EngineCounters:
    """What one engine counts of its steps and tokens."""

    steps: Distribution  # those that gave a token, by the number of tokens that each completed
    prompt_tokens: float  # of all prompts whose answer has begun
    cached_tokens: float  # of these, what the prefix cache had
    ended_tokens: float  # prompts and answers of the requests that have ended

    @property
    def in_use(self) -> float:
        """The part of the tokens in use that was not generated: of requests that decode, and of all ever aborted."""
        return self.prompt_tokens - self.ended_tokens


@dataclass(frozen=True)
class Counters:
    """All counters of a service at one time. Latencies go by the names of `Metrics`: ttft, tpot, itl, e2el."""

    time: float  # seconds, monotonic
    latencies: Mapping[str, Distribution]
    tokens: float  # generated
    finished: float  # requests, those that failed included
    in_flight: float  # requests that run or wait now
    failed: float = 0.0  # of the finished ones
    preemptions: float | None = None  # None: not told
    running: float = 0.0  # of those in flight
    engine: EngineCounters | None = None  # None: not told, or by several engines together
    scheduler: tuple[float, ...] = ()  # what changes as the engine schedules: running, steps, prompt tokens, KV cache

    def since(self, start: Counters) -> Counters:
        """What was added since `start`, but for `engine`; `time` is the seconds between, gauges stay as they are."""
        return Counters(
            time=self.time - start.time,
            latencies={
                name: found.since(start.latencies[name])
                for name, found in self.latencies.items()
                if name in start.latencies
            },
            tokens=self.tokens - start.tokens,
            finished=self.finished - start.finished,
            in_flight=self.in_flight,
            failed=self.failed - start.failed,
            preemptions=(
                self.preemptions - start.preemptions
                if self.preemptions is not None and start.preemptions is not None
                else None
            ),
            running=self.running,
        )

    def restarted_since(self, earlier: Counters) -> bool:
        """Whether a counter went back: another process counts from 0."""
        return self.tokens < earlier.tokens or self.finished < earlier.finished


def observed(counted: Counters, objective: Objective) -> Metrics:
    """What was counted, as metrics: means are exact, the percentiles of the SLOs interpolated within buckets.

    The success rate is of what reached the service: it does not count the rest.
    """
    seconds = max(counted.time, 1e-9)
    return Metrics(
        generate_speed=counted.tokens / seconds,
        throughput=counted.finished / seconds,
        success_rate=1.0 - counted.failed / counted.finished if counted.finished else 1.0,
        completed=round(counted.finished - counted.failed),
        failed=round(counted.failed),
        duration=seconds,
        ttft=_latency(counted, (TTFT,), TTFT, objective),
        tpot=_latency(counted, (TPOT, BETWEEN_TOKENS), TPOT, objective),
        e2el=_latency(counted, (E2EL,), E2EL, objective),
        itl=_latency(counted, (BETWEEN_TOKENS,), ITL, objective),
        output_tokens=round(counted.tokens),
        preemptions=None if counted.preemptions is None else round(counted.preemptions),
    )


def _latency(counted: Counters, series: Sequence[str], metric: str, objective: Objective) -> Latency:
    name = next((each for each in series if each in counted.latencies), None)
    if name is None or not counted.latencies[name].count:
        return {}
    distribution = counted.latencies[name]
    found = {"mean": distribution.total / distribution.count}
    for slo in objective.slos:
        if slo.metric == metric and slo.statistic != "mean" and name == metric:
            value = distribution.quantile(share_of(slo.statistic))
            found |= {} if value is None else {slo.statistic: value}
    return found
