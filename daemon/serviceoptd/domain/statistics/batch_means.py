"""Confidence bounds for the mean of a process whose neighbouring values depend on each other: batch means.

A queue makes neighbouring latencies alike, so the variance of single values says little about the variance of their
mean. Means of long batches depend on each other far less (B. Schmeiser, *Batch size effects in the analysis of
simulation output*, Operations Research 30(3), 1982); what dependence is left is taken for first-order autoregressive.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist, fmean, variance

FEWEST, MOST = 10, 16
"""Batches: fewer tell too little about their spread, more would be short (Schmeiser: 10 to 30 suffice)."""

STRONGEST = 0.9
"""Estimated correlation of neighbours beyond which there is no bound at all: the batches are too short."""


@dataclass(frozen=True)
class Steady:
    """What batches tell about the mean of what comes."""

    earlier: float  # mean of the first half of the batches
    later: float
    deviation: float  # of a batch mean, widened for the correlation of neighbours
    batches: int
    weight: float  # of one batch

    @property
    def middle(self) -> float:
        """The best guess of the mean."""
        return (self.earlier + self.later) / 2

    def low(self, remaining: float, error: float) -> float:
        """The bound below which the mean of the next `remaining` weight lies with a probability of `error` at most."""
        return min(self.middle, self.later, self._drifted(remaining)) - self._margin(remaining, error)

    def high(self, remaining: float, error: float) -> float:
        """The bound above which it lies with a probability of `error` at most."""
        return max(self.middle, self.later, self._drifted(remaining)) + self._margin(remaining, error)

    def _drifted(self, remaining: float) -> float:
        """Where the mean will be if it goes on changing as it did between the halves."""
        half = self.batches * self.weight / 2
        return self.later + (self.later - self.earlier) * (half + remaining) / (2 * half)

    def _margin(self, remaining: float, error: float) -> float:
        ahead = max(remaining / self.weight, 1e-9)
        seen = self.batches / 2  # the later half alone may be the example
        return student_quantile(1.0 - error, self.batches - 1) * self.deviation * math.sqrt(1.0 / seen + 1.0 / ahead)


def steady(points: Sequence[tuple[float, float]]) -> Steady | None:
    """The steady mean of cumulative (weight, total) at successive times.

    None where there are too few, or too dependent, batches.
    """
    means, weight = _batches(points)
    if len(means) < FEWEST:
        return None
    correlation = _neighbours(means, fmean(means))
    if correlation >= STRONGEST:
        return None
    inflation = (1.0 + correlation) / (1.0 - correlation)
    half = len(means) // 2
    return Steady(fmean(means[:half]), fmean(means[half:]), math.sqrt(variance(means) * inflation), len(means), weight)


def _batches(points: Sequence[tuple[float, float]]) -> tuple[list[float], float]:
    """Means of batches of about equal weight, each a union of neighbouring windows; and that weight."""
    if len(points) <= FEWEST:
        return [], 0.0
    origin, end = points[0][0], points[-1][0]
    wanted = min(MOST, (len(points) - 1) // 2)
    weight = (end - origin) / max(wanted, 1)
    if weight <= 0:
        return [], 0.0
    means: list[float] = []
    begun = points[0]
    for point in points[1:]:
        if point[0] >= origin + weight * (len(means) + 1) - 1e-9 and point[0] > begun[0]:
            means.append((point[1] - begun[1]) / (point[0] - begun[0]))
            begun = point
    return means, (begun[0] - origin) / max(len(means), 1)


def _neighbours(means: Sequence[float], overall: float) -> float:
    """Correlation of neighbouring batches, at least 0; 1/n is added, by which the usual estimate is too low."""
    squares = sum((mean - overall) ** 2 for mean in means)
    if squares <= 0:
        return 0.0
    products = sum((a - overall) * (b - overall) for a, b in pairwise(means))
    return max(0.0, products / squares + 1.0 / len(means))


def student_quantile(probability: float, degrees: int) -> float:
    """The quantile of Student's distribution (Abramowitz and Stegun, 26.7.5).

    It is within 3 % of the true one for 7 degrees or more and p up to 0.9999.
    """
    z, n = NormalDist().inv_cdf(probability), degrees
    return (
        z
        + (z**3 + z) / (4 * n)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * n**4)
    )
