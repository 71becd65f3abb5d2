"""Rules that judge by a probability: their option `threshold`, and how they say that something is below it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from serviceopt_journal.errors import InvalidConfiguration

USUAL = 0.01
LEAST_TOLD = 1e-6
"""A smaller probability is told as this one: the models know no better."""


def threshold(options: Mapping[str, object], rule: str) -> float:
    """The probability below which a configuration is given up; 1 % where it is not given.

    Raises:
        InvalidConfiguration: it is not a probability.
    """
    given = options.get("threshold", USUAL)
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given < 1:
        raise InvalidConfiguration(
            f"threshold {given!r} of the rule {rule} is not a probability",
            hint=f"give [search.options.{rule}] threshold a number above 0 and below 1, such as {USUAL:g}",
        )
    return float(given)


def improbable(log_probability: float, least: float, *, better: bool, by: str) -> str | None:
    """Why a configuration is given up whose probability is below `least`; None where it is not.

    `better`: of being better than the best so far, too; while nothing is feasible there is no best. `by`: what says so.
    """
    if log_probability >= math.log(least):
        return None
    wanted = "feasible and better than the best" if better else "feasible"
    probability = max(math.exp(log_probability), LEAST_TOLD)
    return f"{wanted} with a probability of {probability:.2g} at most, below {least:g}, by {by}"
