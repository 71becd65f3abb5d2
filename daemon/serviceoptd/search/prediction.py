"""What models learn from, and what they expect at positions that were not measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serviceopt_journal.metrics import Metrics

Array = NDArray[np.float64]

WRONG, TIMES_AS_FAR = 0.1, 4.0
"""In this share of the cases the truth lies so many times farther from the expectation than the models say."""


@dataclass(frozen=True)
class Point:
    """What became of one configuration. `metrics` None: it failed, for the reason `failure`."""

    position: tuple[float, ...]
    metrics: Metrics | None
    objective: float | None
    failure: str = ""
    cause: str = ""  # the kind of that failure (domain/failures.py); empty: not known


@dataclass(frozen=True)
class Forecast:
    """What to expect at each of m positions. Logarithms; standard deviations of the truth, not of a measurement of it."""

    objective: Array
    objective_deviation: Array
    ceiling: Array  # the objective cannot be higher: nobody serves more than what is asked for; infinity: not limited
    latencies: Array  # (SLOs, m)
    log_kept: Array  # logarithm of the probability that every objective is kept and the launch succeeds
