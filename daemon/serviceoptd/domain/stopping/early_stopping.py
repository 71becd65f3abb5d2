"""Whether a measurement under way may be ended: it can no longer be the run's best, or its result is known already.

The error rate holds over all looks together: a statistical test is made only when another tenth of the requests has
finished, and each of these tests, of each limit, the success rate and the objective, gets an equal part of it
(Bonferroni: an alpha-spending function as in K. K. G. Lan and D. L. DeMets, *Discrete sequential boundaries for
clinical trials*, Biometrika 70(3), 1983, linear in the share that has finished). Certain bounds are
looked at every time and cost nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from serviceopt_journal.metric_table import (
    E2EL,
    GENERATE_SPEED,
    GOODPUT,
    LIMITS,
    SUCCESS_RATE,
    THROUGHPUT,
    TPOT,
    TTFT,
    MetricName,
    RateName,
    in_words,
)
from serviceopt_journal.metrics import Metrics
from serviceoptd.domain.objective import Judgement
from serviceoptd.domain.settings import Objective, Slo
from serviceoptd.domain.stopping.client_ratios import Agreement
from serviceoptd.domain.stopping.projected_result import Forecast, Interval
from serviceoptd.domain.stopping.service_counters import Counters, observed

TESTS = 9
"""Statistical tests of one quantity at most: after each tenth of the requests but the last."""

COMPLETE_FIRST = 3
"""Measurements of a run that are never ended early: they tell how the client's numbers relate to the service's."""


@dataclass(frozen=True)
class Stakes:
    """What the measurement is about. `best` is the run's best so far; None: there is nothing to compare with."""

    objective: Objective
    requests: int
    concurrency: int | None  # None: not limited
    best: Judgement | None
    devices: int
    agreement: Agreement
    error_rate: float
    precision: float

    @property
    def error(self) -> float:
        """The error that one statistical test may make: of each limit, of the success rate, and of the objective."""
        return self.error_rate / (TESTS * (len(self.objective.slos) + 2))


@dataclass(frozen=True)
class Verdict:
    """Why the measurement may end. `metrics`: what was observed; of one that converged, what the client would say."""

    kind: Literal["hopeless", "beaten", "converged"]
    reason: str
    metrics: Metrics
    statistic: str = ""  # such as "ttft mean", "success_rate", or the objective's name
    bound: float | None = None  # of its final value: at least, for a latency; at most, for any other


def verdict(looks: Sequence[Counters], stakes: Stakes) -> Verdict | None:
    """What the looks so far allow to say; to be asked after each one. `looks[0]` is the start of the measured requests.

    Pure, and it remembers nothing: which test is due follows from the last two looks.
    """
    if len(looks) < 2 or len(stakes.agreement.pairs) < COMPLETE_FIRST:
        return None
    last, before = looks[-1].since(looks[0]), looks[-2].since(looks[0])
    due = _tenth(last, stakes) > _tenth(before, stakes)
    counted = [look.since(looks[0]) for look in looks] if due else [last]  # what is certain follows from the last one
    forecast = Forecast(counted, stakes.requests, stakes.concurrency, stakes.error)
    for slo in stakes.objective.slos:
        if found := _hopeless(forecast, slo, stakes, statistical=due):
            return found
    if failing := _failing(forecast, stakes, statistical=due):
        return failing
    if not due:
        return None
    return _beaten(forecast, stakes) or _converged(forecast, stakes)


def _tenth(counted: Counters, stakes: Stakes) -> int:
    return min(TESTS, math.floor(10 * counted.finished / stakes.requests))


def _hopeless(forecast: Forecast, slo: Slo, stakes: Stakes, *, statistical: bool) -> Verdict | None:
    """The limit will be missed, and by more than the best misses its own in all, where that one misses any."""
    best, factor = stakes.best, stakes.agreement.latency(slo.metric).least
    if best is None or best.objective is None or math.isnan(factor):
        return None
    limit = slo.limit * (1.0 + best.violation)
    if slo.statistic == "mean":
        least = forecast.least_mean(slo.metric, statistical=statistical)
        if least is None or least * factor <= limit:
            return None
        bound = least * factor
    elif forecast.surely_above(slo.metric, slo.statistic, limit / factor, statistical=statistical):
        bound = limit
    else:
        return None
    reason = (
        f"{_so_far(forecast)}: the {in_words(slo.statistic, slo.metric)} will be above {bound:.3g} s, and its "
        f"limit is {slo.limit:g} s"
    )
    if best.violation:
        reason += f" (the best so far misses its limits by {best.violation:.2g} of them)"
    metrics = observed(forecast.last, stakes.objective)
    return Verdict("hopeless", reason, metrics, f"{slo.metric} {slo.statistic}", bound)


def _failing(forecast: Forecast, stakes: Stakes, *, statistical: bool) -> Verdict | None:
    """The success rate will be missed, and by more than the best misses its limits in all."""
    best, required = stakes.best, stakes.objective.success_rate
    if best is None or best.objective is None:
        return None
    failures = stakes.agreement.failures()
    factor = failures.least if failures.values else 1.0  # none ever failed: what the service says is believed
    bound = 1.0 - forecast.least_failed(statistical=statistical) * factor / stakes.requests
    if bound >= required * (1.0 - best.violation):
        return None
    reason = (
        f"{_so_far(forecast)}: {forecast.last.failed:.0f} of them failed, the success rate will be below {bound:.3g}, "
        f"and at least {required:g} is required"
    )
    return Verdict("hopeless", reason, observed(forecast.last, stakes.objective), SUCCESS_RATE, bound)


def _beaten(forecast: Forecast, stakes: Stakes) -> Verdict | None:
    """The objective will be below that of the best feasible one."""
    best, name = stakes.best, _rate_name(stakes.objective)
    if best is None or not best.feasible or best.objective is None or name is None:
        return None
    rate, factor = _rate(forecast, name), stakes.agreement.rate(name).greatest
    if rate is None or math.isnan(factor):
        return None
    bound = rate.high * factor
    per = bound / max(1, stakes.devices) if stakes.objective.per_device else bound
    if per >= best.objective:
        return None
    reason = f"{_so_far(forecast)}: {name} will be below {per:.4g}, and the best so far has {best.objective:.4g}"
    return Verdict("beaten", reason, observed(forecast.last, stakes.objective), name, bound)


def _converged(forecast: Forecast, stakes: Stakes) -> Verdict | None:
    """All that the objective needs is known to within the precision.

    Percentiles never are: the buckets of a histogram are too wide. Nor is it known how many requests the client will
    find failed, unless in the complete measurements none ever did.
    """
    slos, agreement, name = stakes.objective.slos, stakes.agreement, _rate_name(stakes.objective)
    if name is None or stakes.objective.soft is not None or any(slo.statistic != "mean" for slo in slos):
        return None
    flawless = not forecast.last.failed and all(client.success_rate == 1.0 for client, _ in agreement.pairs)
    if not flawless or (rate := _rate(forecast, name)) is None:
        return None
    means = {metric: forecast.mean(metric) for metric in LIMITS}
    needed = [(means[slo.metric], agreement.latency(slo.metric)) for slo in slos]
    # Nothing has been seen yet of how the batch empties at the end: on average half of it runs then. So much may be
    # lost, or nothing, or twice that.
    unseen = min(1.0, forecast.wave / (2 * stakes.requests))
    width = max(
        max(unseen + value.half_width, ratios.spread) if value is not None else math.inf
        for value, ratios in [(rate, agreement.rate(name)), *needed]
    )
    if width > stakes.precision:
        return None
    last, plain = forecast.last, observed(forecast.last, stakes.objective)
    per_second = rate.middle / (1.0 + unseen) / (last.tokens if name == GENERATE_SPEED else last.finished)
    metrics = Metrics(
        generate_speed=last.tokens * per_second * agreement.rate(GENERATE_SPEED).middle,
        throughput=last.finished * per_second * agreement.rate(THROUGHPUT).middle,
        success_rate=1.0,
        completed=plain.completed,
        failed=0,
        duration=plain.duration,
        ttft=_mean(TTFT, means[TTFT], agreement),
        tpot=_mean(TPOT, means[TPOT], agreement),
        e2el=_mean(E2EL, means[E2EL], agreement),
        output_tokens=plain.output_tokens,
        preemptions=plain.preemptions,
    )
    return Verdict("converged", f"{_so_far(forecast)}: known to within {width:.1%}", metrics)


def _rate_name(objective: Objective) -> RateName | None:
    return None if objective.maximise == GOODPUT else objective.maximise


def _rate(forecast: Forecast, name: RateName) -> Interval | None:
    return forecast.rate(lambda look: look.tokens if name == GENERATE_SPEED else look.finished)


def _mean(metric: MetricName, value: Interval | None, agreement: Agreement) -> dict[str, float]:
    ratio = agreement.latency(metric).middle
    return {} if value is None or math.isnan(ratio) else {"mean": value.middle * ratio}


def _so_far(forecast: Forecast) -> str:
    """Preemptions are told, and decide nothing: what they cost is in the latencies and in the throughput already."""
    last = forecast.last
    preempted = f" ({last.preemptions:.0f} preemptions)" if last.preemptions else ""
    return f"after {last.time:.0f} s and {last.finished:.0f} of {forecast.requests} requests{preempted}"
