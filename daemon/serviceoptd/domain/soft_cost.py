"""The predecessor's weighted cost: latency objectives as penalties instead of conditions.

Formula: cost of msserviceprofiler's parameter optimizer, in its weights 0.4 / 0.2 / 0.3 / 0.1, on means:

    0.4 x target / generate_speed
    + 0.2 x exp(ttft_penalty x (ttft / ttft_slo - 1))                          where ttft_penalty > 0
    + 0.3 x exp(tpot_penalty x (tpot / tpot_slo - 1))                          where tpot_penalty > 0
    + 0.1 x exp(success_rate_penalty x (success_rate_slo / success_rate - 1))
"""

from __future__ import annotations

import math

from serviceopt_journal.metric_table import TPOT, TTFT
from serviceopt_journal.metrics import Metrics
from serviceoptd.domain.settings import Objective, SoftFormula

FAILED_COST = 1e300
"""Cost of what could not be measured: more than any measurement's, and finite."""

LARGEST_EXPONENT = 600.0
LARGEST_SPEED_TERM = 1e250


def soft_cost(metrics: Metrics, objective: Objective, formula: SoftFormula) -> float:
    """The cost; smaller is better, always finite and below FAILED_COST.

    `metrics` has the means of TTFT and TPOT wherever their penalty is above 0. A latency without SLO costs nothing.
    """
    limits = {slo.metric: slo.limit for slo in objective.slos}
    cost = 0.4 * _quotient(formula.generate_speed_target, metrics.generate_speed)
    if formula.ttft_penalty > 0 and TTFT in limits:
        cost += 0.2 * _penalty(formula.ttft_penalty, metrics.ttft["mean"], limits[TTFT])
    if formula.tpot_penalty > 0 and TPOT in limits:
        cost += 0.3 * _penalty(formula.tpot_penalty, metrics.tpot["mean"], limits[TPOT])
    return cost + 0.1 * _penalty(formula.success_rate_penalty, objective.success_rate, metrics.success_rate)


def _quotient(numerator: float, denominator: float) -> float:
    if denominator <= 0 or numerator / LARGEST_SPEED_TERM > denominator:
        return LARGEST_SPEED_TERM
    return numerator / denominator


def _penalty(weight: float, numerator: float, denominator: float) -> float:
    return math.exp(min(weight * (_quotient(numerator, denominator) - 1), LARGEST_EXPONENT))
