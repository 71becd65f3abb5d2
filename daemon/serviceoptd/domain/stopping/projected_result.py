"""What a measurement under way will have shown at its end, in the service's terms: for certain, or at a stated error.

Part of it is known: no latency is negative, so what has been observed bounds the final mean, and the final number of
slow requests, from below for certain. What the rest will add is judged by batch means (`batch_means.py`) of what came
after the first wave of requests, which all begin at once and are no example for the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from serviceopt_journal.metric_table import TPOT, MetricName
from serviceoptd.domain.statistics.batch_means import Steady, steady
from serviceoptd.domain.statistics.order_statistics import share_of
from serviceoptd.domain.stopping.service_counters import BETWEEN_TOKENS, Counters

Measure = Callable[[Counters], float]


@dataclass(frozen=True)
class Interval:
    """A final value: its estimate, and between what it lies."""

    low: float
    middle: float
    high: float

    @property
    def half_width(self) -> float:
        """The larger side, relative to the estimate."""
        return max(self.high - self.middle, self.middle - self.low) / self.middle if self.middle > 0 else math.inf


@dataclass(frozen=True)
class Forecast:
    """A forecast of the final metrics from what was counted since the start of the measured requests, look by look."""

    counted: Sequence[Counters]
    requests: int  # of the whole measurement
    concurrency: int | None  # None: not limited
    error: float  # of one statistical statement

    @property
    def last(self) -> Counters:
        """The newest of the looks."""
        return self.counted[-1]

    @property
    def wave(self) -> float:
        """How many requests run at once: so many begin together, and so many end while the batch empties."""
        return self.concurrency or max(look.in_flight for look in self.counted)

    def series(self, metric: MetricName, statistic: str) -> str | None:
        """Which latency tells about it; None: none does. Times between tokens stand in for the mean TPOT only."""
        names = (metric, BETWEEN_TOKENS) if metric == TPOT and statistic == "mean" else (metric,)
        return next((n for n in names if n in self.last.latencies and self.last.latencies[n].count), None)

    def least_mean(self, metric: MetricName, *, statistical: bool) -> float | None:
        """What the mean over all requests, in seconds, will at least be; None: the service does not tell."""
        name = self.series(metric, "mean")
        if name is None:
            return None
        total = self._least_total(name, lambda look: look.latencies[name].total, statistical=statistical)
        return total / self._every(name)

    def surely_above(self, metric: MetricName, statistic: str, limit: float, *, statistical: bool) -> bool:
        """Whether the percentile over all requests will be above `limit` seconds."""
        name = self.series(metric, statistic)
        if name is None:
            return False
        # As numpy has it, a percentile is at least the value of this rank; one more above the limit is too many.
        rank = math.floor((self.requests - 1) * share_of(statistic))
        above = self._least_total(name, lambda look: look.latencies[name].above(limit), statistical=statistical)
        return above >= self.requests - rank

    def least_failed(self, *, statistical: bool) -> float:
        """How many of the requests will at least have failed."""
        last = self.last
        ahead = self.requests - last.finished - self.wave
        if not statistical or ahead <= 0:
            return last.failed
        found = steady([(look.finished, look.failed) for look in self.counted if look.finished >= self.wave])
        return last.failed + (ahead * max(0.0, found.low(ahead, self.error)) if found is not None else 0.0)

    def mean(self, metric: MetricName) -> Interval | None:
        """The mean over all requests, in seconds; None: too little is known."""
        name = self.series(metric, "mean")
        if name is None:
            return None
        seen, every = self.last.latencies[name], self._every(name)
        ahead = every - seen.count
        found = self._steady(name, lambda look: look.latencies[name].total)
        if found is None or ahead <= 0:
            return None
        return Interval(
            low=(seen.total + ahead * found.low(ahead, self.error)) / every,
            middle=(seen.total + ahead * found.middle) / every,
            high=(seen.total + ahead * found.high(ahead, self.error)) / every,
        )

    def rate(self, done: Measure) -> Interval | None:
        """Tokens or requests (`done`) per second over the whole measurement, were the batch not to empty at its end."""
        last = self.last
        if not 0 < last.finished < self.requests:
            return None
        found = steady([(done(look), look.time) for look in self.counted if look.finished >= self.wave])
        if found is None:
            return None
        every = done(last) * self.requests / last.finished
        ahead = every - done(last)

        def final(seconds_each: float) -> float:
            return every / (last.time + ahead * max(0.0, seconds_each))

        return Interval(final(found.high(ahead, self.error)), final(found.middle), final(found.low(ahead, self.error)))

    def _least_total(self, name: str, total: Measure, *, statistical: bool) -> float:
        known = total(self.last)
        ahead = self._every(name) - self.last.latencies[name].count - self._wave(name)
        found = self._steady(name, total) if statistical and ahead > 0 else None
        if found is None:
            return known
        return known + ahead * max(0.0, found.low(ahead, self.error))

    def _steady(self, name: str, total: Measure) -> Steady | None:
        counts = ((look.latencies[name].count, total(look)) for look in self.counted)
        return steady([point for point in counts if point[0] >= self._wave(name)])

    def _every(self, name: str) -> float:
        """How many values there will be at the end."""
        return self.requests * self._values_per_request(name)

    def _wave(self, name: str) -> float:
        return self.wave * self._values_per_request(name)

    def _values_per_request(self, name: str) -> float:
        """Rather too many than too few: tokens of requests that have not finished are counted too."""
        return (
            max(1.0, self.last.latencies[name].count / max(1.0, self.last.finished)) if name == BETWEEN_TOKENS else 1.0
        )
