"""Judges metrics: was every objective kept, how far was it missed, and one number that orders alike.

Hard by default: what keeps every SLO and the success rate beats what does not; among those the higher objective wins,
among the others the smaller violation. The predecessor's soft cost is available on request, see `soft_cost.py`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.metric_table import (
    ALL_LATENCIES,
    GENERATE_SPEED,
    LIMITS,
    METRIC,
    SUCCESS_RATE,
    TPOT,
    TTFT,
    LatencyName,
    MetricName,
    in_words,
)
from serviceopt_journal.metrics import Latency, Metrics, latency_fields, latency_of
from serviceoptd.domain.settings import Objective, Slo
from serviceoptd.domain.soft_cost import FAILED_COST, soft_cost

FAILED = 1.0
"""Fitness of what could not be measured. Every infeasible measurement is below, every feasible one at 0 or below."""

LARGEST_VIOLATION = 1e300

_PERCENTILE = re.compile(r"p(\d{1,2}(\.\d+)?)")


@dataclass(frozen=True)
class Judgement:
    """What a measurement is worth. `broken` says in words which objectives were missed."""

    feasible: bool
    violation: float  # sum of the relative excesses; 0 when feasible; LARGEST_VIOLATION when nothing was measured
    objective: float | None  # what is maximised; None when nothing was measured
    fitness: float  # smaller is better; always finite
    broken: tuple[str, ...] = ()


def parse_slo(limit: str | float, metric: MetricName) -> Slo:
    """The latency objective that `limit` writes: seconds of the mean (1.5), or statistic and seconds ("p99:1.5").

    Raises:
        InvalidConfiguration: neither of the two, an unknown statistic, or a limit out of range.
    """
    largest = LIMITS[metric].largest
    allowed = (
        f'allowed: seconds above 0 up to {largest:g}, or "STATISTIC:SECONDS" with mean, median, max or a percentile '
        'such as p99, for instance "p99:1.5"'
    )
    statistic, colon, seconds = str(limit).strip().rpartition(":")
    statistic = statistic.strip().casefold() if colon else "mean"
    try:
        value = math.nan if isinstance(limit, bool) else float(seconds)
    except ValueError:
        value = math.nan
    if not 0 < value <= largest:
        raise InvalidConfiguration(f"{limit!r} is not a limit of {METRIC[metric].title}", hint=allowed)
    if statistic == "median":
        statistic = "p50"
    percentile = _PERCENTILE.fullmatch(statistic)
    if statistic not in ("mean", "max") and not (percentile and float(percentile[1]) > 0):
        raise InvalidConfiguration(f"{statistic!r} is not a statistic of {METRIC[metric].title}", hint=allowed)
    return Slo(metric=metric, statistic=statistic, limit=value)


def missing_statistics(metrics: Metrics, objective: Objective) -> tuple[str, ...]:
    """What the objective needs and the metrics lack: absent, not a finite number, or negative. Empty: all is there."""
    needed = {in_words(slo.statistic, slo.metric): statistic(metrics, slo) for slo in objective.slos}
    needed[objective.maximise] = getattr(metrics, objective.maximise)
    needed[SUCCESS_RATE] = metrics.success_rate
    if objective.soft is not None:
        needed[GENERATE_SPEED] = metrics.generate_speed
        penalties: dict[LatencyName, float] = {TTFT: objective.soft.ttft_penalty, TPOT: objective.soft.tpot_penalty}
        for name, penalty in penalties.items():
            if penalty > 0:
                needed[in_words("mean", name)] = latency_of(metrics, name).get("mean")
    return tuple(name for name, value in needed.items() if value is None or not 0 <= value < math.inf)


def judge(metrics: Metrics | None, objective: Objective, devices: int = 1) -> Judgement:
    """What the metrics are worth; `devices` divides the objective where it is per device.

    None, or metrics that lack a statistic that the objective needs, are a failure: the worst fitness, never an error,
    because a changed SLO may ask for what an earlier measurement did not record.
    """
    missing = ("nothing was measured",) if metrics is None else missing_statistics(metrics, objective)
    if metrics is None or missing:
        words = missing if metrics is None else tuple(f"{name} was not measured" for name in missing)
        worst = FAILED if objective.soft is None else FAILED_COST
        return Judgement(False, LARGEST_VIOLATION, None, worst, words)
    broken, violation = [], 0.0
    for slo in objective.slos:
        measured = statistic(metrics, slo) or 0.0
        if measured > slo.limit:
            broken.append(f"{in_words(slo.statistic, slo.metric)} {_apart(measured, slo.limit, '>')}")
            violation += (measured - slo.limit) / slo.limit
    if metrics.success_rate < objective.success_rate:
        broken.append(
            f"{METRIC[SUCCESS_RATE].label} {_apart(metrics.success_rate, objective.success_rate, '<', unit='')}"
        )
        violation += (objective.success_rate - metrics.success_rate) / objective.success_rate
    violation = min(violation, LARGEST_VIOLATION)
    value = float(getattr(metrics, objective.maximise))
    if objective.per_device:
        value /= max(devices, 1)
    if objective.soft is not None:
        fitness = soft_cost(metrics, objective, objective.soft)
    elif broken:
        # The largest float below 1 at most: a measurement, however bad, teaches more than a failure.
        fitness = min(violation / (1 + violation), math.nextafter(FAILED, 0))
    else:
        fitness = -value + 0.0
    return Judgement(not broken, violation, value, fitness, tuple(broken))


def rank(judgements: Sequence[Judgement]) -> list[int]:
    """The indices of the judgements, best first: feasible by objective, then infeasible by violation, then failures; stable.

    The hard order also where the search uses the soft cost: what is recommended keeps its objectives if anything does.
    """

    return sorted(range(len(judgements)), key=lambda index: standing(judgements[index]))


def standing(judgement: Judgement) -> tuple[int, float]:
    """What `rank` sorts by: the best judgement has the least."""
    if judgement.objective is None:
        return 2, 0.0
    return (0, -judgement.objective) if judgement.feasible else (1, judgement.violation)


def aggregate(measurements: Sequence[Metrics]) -> Metrics:
    """Repeated measurements of one configuration and load as one: the median of each number.

    A statistic, the goodput and the token counts are kept where every measurement has them.

    Raises:
        ValueError: no measurement.
    """
    if not measurements:
        raise ValueError("nothing to aggregate")
    if len(measurements) == 1:
        return measurements[0]
    return Metrics(
        generate_speed=median(m.generate_speed for m in measurements),
        throughput=median(m.throughput for m in measurements),
        success_rate=median(m.success_rate for m in measurements),
        completed=_median_count(m.completed for m in measurements) or 0,
        failed=_median_count(m.failed for m in measurements) or 0,
        duration=median(m.duration for m in measurements),
        **latency_fields(
            {name: _median_latency([latency_of(m, name) for m in measurements]) for name in ALL_LATENCIES}
        ),
        goodput=_median_present([m.goodput for m in measurements]),
        input_tokens=_median_count(m.input_tokens for m in measurements),
        output_tokens=_median_count(m.output_tokens for m in measurements),
        preemptions=_median_count(m.preemptions for m in measurements),
    )


def statistic(metrics: Metrics, slo: Slo) -> float | None:
    """The measured value that an SLO limits, in seconds; None where it was not told."""
    latency = latency_of(metrics, slo.metric)
    # Clients call it either way.
    return latency.get(slo.statistic, latency.get("median") if slo.statistic == "p50" else None)


def _apart(measured: float, limit: float, sign: str, unit: str = " s") -> str:
    """Both numbers with as many digits as it takes to see that they differ."""
    for digits in range(3, 17):
        if f"{measured:.{digits}g}" != f"{limit:.{digits}g}":
            return f"{measured:.{digits}g}{unit} {sign} {limit:g}{unit}"
    return f"{measured!r}{unit} {sign} {limit!r}{unit}"


def _median_present(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return median(present) if len(present) == len(values) else None


def _median_count(values: Iterable[int | None]) -> int | None:
    middle = _median_present(list(values))
    return None if middle is None else round(middle)


def _median_latency(latencies: Sequence[Latency]) -> Latency:
    shared = (name for name in latencies[0] if all(name in latency for latency in latencies))
    return {name: median(latency[name] for latency in latencies) for name in shared}
