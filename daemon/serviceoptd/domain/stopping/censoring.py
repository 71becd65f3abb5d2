"""Results of measurements that were ended early because they could not become the best: bounds, not values."""

from __future__ import annotations

from typing import get_args

from msgspec.structs import replace

from serviceopt_journal.events import MeasurementRejected
from serviceopt_journal.metric_table import Goal
from serviceopt_journal.metrics import Metrics
from serviceoptd.domain.objective import Judgement, judge
from serviceoptd.domain.settings import Objective

RATES = get_args(Goal)
"""Statistics of which a bound says nothing about the limits."""


def censored(event: MeasurementRejected) -> Metrics | None:
    """What was observed, with the statistic that decided at its bound: a latency at least, anything else at most that."""
    metrics, (name, _, statistic) = event.observed, event.statistic.partition(" ")
    if metrics is None or event.bound is None:
        return metrics
    if not statistic:
        return replace(metrics, **{name: min(event.bound, getattr(metrics, name))})
    latency = getattr(metrics, name)
    return replace(metrics, **{name: {**latency, statistic: max(event.bound, latency.get(statistic, 0.0))}})


def judged(metrics: Metrics, statistic: str, objective: Objective, devices: int) -> Judgement:
    """The judgement of a censored result at its best.

    One that was to miss a limit is never feasible, also where the limit was raised since:
    what it would have ended with nobody knows then."""
    judgement = judge(metrics, objective, devices)
    return judge(None, objective) if judgement.feasible and statistic not in RATES else judgement
