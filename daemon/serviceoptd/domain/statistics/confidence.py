"""Student's t distribution, and the noise of measurements pooled over several configurations.

Measured values are compared by their logarithm: run-to-run noise of throughput and latency is a factor, not a term.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from serviceopt_journal.proof import Interval

TERMS = 300
CONVERGED = 1e-14
BISECTIONS = 200
ASSUMED_WEIGHT = 1.0
"""Degrees of freedom that an assumed noise counts for: it gives way to what is measured at once."""


@dataclass(frozen=True)
class Noise:
    """Standard deviation of the logarithm of one measurement, and how many degrees of freedom it rests on."""

    deviation: float
    freedom: float  # 0: nothing is known


@dataclass(frozen=True)
class Mean:
    """The mean of the logarithms of repeated measurements."""

    value: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Mean:
        return cls(fmean(values), len(values))

    def error(self, noise: Noise) -> float:
        """The standard error of the mean."""
        return noise.deviation / math.sqrt(self.count)


def pooled(samples: Iterable[Sequence[float]], *, assumed: float | None = None) -> Noise:
    """The noise that measurements of several configurations share: sum of squares within each, over its freedom.

    Args:
        samples: the logarithms measured of each configuration.
        assumed: noise to lean on while little has been measured, counted as `ASSUMED_WEIGHT` degrees of freedom: the
            conjugate prior of a variance (A. Gelman et al., *Bayesian Data Analysis*, 3rd ed., section 2.6).
    """
    freedom = ASSUMED_WEIGHT if assumed is not None else 0.0
    squares = freedom * (assumed or 0.0) ** 2
    for values in samples:
        mean = fmean(values)
        squares += sum((value - mean) ** 2 for value in values)
        freedom += len(values) - 1
    return Noise(math.sqrt(squares / freedom) if freedom else 0.0, freedom)


def interval(value: float, error: float, noise: Noise, confidence: float, *, best_of: int = 1) -> Interval | None:
    """The two-sided interval of an estimated logarithm, as plain values; None where the noise is not known.

    `best_of`: it is the highest of so many estimates, so it is too high rather than too low. The lower end allows for
    that: its share of the error is divided among them (Bonferroni).
    """
    if noise.freedom < 1:
        return None
    outside = (1 - confidence) / 2
    below, above = (t_quantile(1 - share, noise.freedom) * error for share in (outside / best_of, outside))
    return math.exp(value - below), math.exp(value + above)


def probability_below(mean: Mean, limit: float, noise: Noise) -> float:
    """How likely the true logarithm is not above `limit`, given the mean of its measurements."""
    error = mean.error(noise)
    if error == 0:
        return float(mean.value <= limit)
    return t_probability((limit - mean.value) / error, noise.freedom)


def t_probability(value: float, freedom: float) -> float:
    """P(T <= value) of Student's t distribution.

    By the regularised incomplete beta function: M. Abramowitz, I. Stegun, *Handbook of Mathematical Functions*, 26.7.1.
    """
    tail = incomplete_beta(freedom / 2, 0.5, freedom / (freedom + value * value)) / 2
    return 1 - tail if value > 0 else tail


def t_quantile(probability: float, freedom: float) -> float:
    """The value that T does not exceed with this probability, which lies strictly between 0 and 1; by bisection."""
    low, high = -1.0, 1.0
    while t_probability(low, freedom) > probability:
        low *= 2
    while t_probability(high, freedom) < probability:
        high *= 2
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        low, high = (middle, high) if t_probability(middle, freedom) < probability else (low, middle)
    return (low + high) / 2


def incomplete_beta(a: float, b: float, x: float) -> float:
    """I_x(a, b), regularised; continued fraction 26.5.8 of the Handbook (I. Thompson, A. Barnett, 1986)."""
    if x <= 0 or x >= 1:
        return min(max(x, 0.0), 1.0)
    if x > (a + 1) / (a + b + 2):  # where it converges slowly: the other tail
        return 1 - incomplete_beta(b, a, 1 - x)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    numerator, denominator, fraction = 1.0, 1 / (1 - (a + b) * x / (a + 1)), 1 / (1 - (a + b) * x / (a + 1))
    for m in range(1, TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for coefficient in (even, odd):
            denominator = 1 / (1 + coefficient * denominator)
            numerator = 1 + coefficient / numerator
            fraction *= numerator * denominator
        if abs(numerator * denominator - 1) < CONVERGED:
            break
    return math.exp(log_front) * fraction / a
