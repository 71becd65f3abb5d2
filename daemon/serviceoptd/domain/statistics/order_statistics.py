"""What single requests tell of a percentile, whatever the shape of its distribution.

The number of requests below the true percentile is binomial, so how many were above a limit tells how likely the
percentile is within it, and two of the ordered latencies enclose it (H. A. David, H. N. Nagaraja, *Order Statistics*,
3rd ed., 2003, section 7.1). Neighbouring requests are alike, because they share a queue: n of them count as n / d, with
d the variance of batch counts over what independent requests would have (B. Schmeiser, Operations Research 30(3), 1982).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import NormalDist, fmean, variance

from serviceopt_journal.metrics import Tail
from serviceoptd.domain.settings import Slo
from serviceoptd.domain.statistics.confidence import incomplete_beta

CONFIDENCE = 0.95
BATCHES = 16
FEWEST_IN_BATCH = 5
"""Requests; with fewer nothing is known of how alike neighbours are."""


def share_of(statistic: str) -> float:
    """The share of the values that a statistic other than the mean leaves below it: p99 -> 0.99, max -> 1."""
    return 1.0 if statistic == "max" else 0.5 if statistic == "median" else float(statistic[1:]) / 100.0


def tail_name(slo: Slo) -> str:
    """The name under which `Metrics.tails` has the tail."""
    return f"{slo.metric} {slo.statistic}"


def about_a_percentile(slo: Slo) -> bool:
    """Neither the mean nor the largest."""
    return slo.statistic.startswith("p")


def tails(latencies: Mapping[str, Sequence[float]], slos: Iterable[Slo]) -> dict[str, Tail]:
    """The tails for each SLO about a percentile whose metric is there.

    Args:
        latencies: metric -> seconds of each request that has it, in the order in which they were sent.
    """
    return {
        tail_name(slo): tail(latencies[slo.metric], slo)
        for slo in slos
        if about_a_percentile(slo) and latencies.get(slo.metric)
    }


def tail(values: Sequence[float], slo: Slo) -> Tail:
    """The tail of at least one latency (seconds), in the order in which the requests were sent."""
    share, ordered = share_of(slo.statistic), sorted(values)
    edge = ordered[math.floor((len(ordered) - 1) * share)]
    dependence = _dependence([value > edge for value in values])
    below, above = _ranks(len(values), share, dependence)
    return Tail(
        requests=len(values),
        limit=slo.limit,
        above=sum(value > slo.limit for value in values),
        low=ordered[below - 1] if below > 0 else 0.0,
        high=ordered[above - 1] if above <= len(values) else None,
        dependence=dependence,
    )


def probability_within(found: Sequence[Tail], slo: Slo) -> float:
    """How sure the requests of all these measurements make it that the true percentile is within their limit.

    One minus the probability that so few of them, or fewer, are above it if the percentile were just beyond (the exact
    one-sided test of C. Clopper, E. Pearson, Biometrika 26(4), 1934), with the effective numbers of requests.
    """
    requests, above = (sum(getattr(each, name) / each.dependence for each in found) for name in ("requests", "above"))
    if above >= requests:
        return 0.0
    return incomplete_beta(above + 1, requests - above, 1 - share_of(slo.statistic))


def needed(slo: Slo, error: float) -> int:
    """Independent requests, none of them above the limit, that show the percentile to be within it but for `error`."""
    return math.ceil(math.log(error) / math.log(share_of(slo.statistic)))


def deviation(found: Tail) -> float | None:
    """Standard deviation of the percentile's logarithm that comes of so many requests; None where its interval is open."""
    if found.high is None or found.low <= 0:
        return None
    return math.log(found.high / found.low) / (2 * NormalDist().inv_cdf((1 + CONFIDENCE) / 2))


def _dependence(flags: Sequence[bool]) -> float:
    """At least 1. Whether neighbours go above the percentile together."""
    size = len(flags) / BATCHES
    share = fmean(flags)
    if size < FEWEST_IN_BATCH or not 0 < share < 1:
        return 1.0
    edges = [round(number * size) for number in range(BATCHES + 1)]
    spread = variance(fmean(flags[begin:end]) for begin, end in pairwise(edges))
    return max(1.0, size * spread / (share * (1 - share)))


def _ranks(requests: int, share: float, dependence: float) -> tuple[int, int]:
    """Of the ordered latencies that enclose the percentile; below 1, or above `requests`, where there is none."""
    count = max(1, math.floor(requests / dependence))
    outside = (1 - CONFIDENCE) / 2

    def at_most(number: int) -> float:
        """The probability that so many requests, or fewer, are below the percentile."""
        return 1.0 if number >= count else incomplete_beta(count - number, number + 1, 1 - share)

    below = _first(lambda rank: at_most(rank) > outside, count)
    above = _first(lambda rank: at_most(rank) >= 1 - outside, count) + 1
    return math.floor(below * requests / count), requests + 1 if above > count else math.ceil(above * requests / count)


def _first(holds: Callable[[int], bool], count: int) -> int:
    """The smallest of 0..count for which it holds, as it does for all greater ones; by bisection."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low
