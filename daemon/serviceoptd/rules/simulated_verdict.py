"""The verdict of the rule `simulated` (`simulated.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import msgspec
import numpy as np

from serviceopt_journal.events import Configuration
from serviceoptd.domain.settings import Field, Objective
from serviceoptd.domain.space.space import Space
from serviceoptd.rules.interface import Facts, Rejection
from serviceoptd.rules.threshold import threshold
from serviceoptd.search.gaussian_process import on_one_thread
from serviceoptd.simulation.advice.advice import Advice, Compared, usable
from serviceoptd.simulation.advice.simulator import Simulator

THRESHOLD = 0.01
LEAST_TOLD = 1e-6
LEAST = 6
"""Results that must be there before it judges."""
TRUSTED = 0.8
"""Weight from which on the simulator has been right in this run, in one of the quantities that count."""


@on_one_thread  # type: ignore[untyped-decorator]
def verdict(configuration: Configuration, facts: Facts, options: Mapping[str, object]) -> Rejection | None:
    """None without a simulator, and while it has not been right often enough.

    Raises:
        InvalidConfiguration: the threshold is no probability.
    """
    least = threshold(options, "simulated", THRESHOLD)
    simulator, objective = facts.simulator, facts.settings.objective
    if simulator is None:
        return None
    known = compared(facts, simulator)
    if len(usable(objective, known)) < LEAST:
        return None
    advice = _advice(msgspec.msgpack.encode((facts.space.fields, objective, known)))
    simulated = simulator(configuration, objective.slos)
    outlook = advice.outlook([configuration], [simulated])
    best = max((r.objective for r in facts.results if r.feasible and r.objective is not None), default=None)
    log_worthwhile = float(outlook.log_worthwhile(best, TRUSTED)[0])
    if not outlook.known[0] or log_worthwhile >= np.log(least):
        return None
    wanted = "feasible and better than the best" if best is not None else "feasible"
    found = max(float(np.exp(log_worthwhile)), LEAST_TOLD)
    return Rejection(
        f"{wanted} with a probability of {found:.2g} at most, below {least:g}, by the simulator, corrected by "
        f"{advice.results} results",
        advice.expected(outlook, 0),
        simulated.remark,
    )


def compared(facts: Facts, simulator: Simulator) -> list[Compared]:
    """Every result, with what the simulator says of its configuration."""
    return [
        Compared(result.configuration, result.metrics, simulator(result.configuration, facts.settings.objective.slos))
        for result in facts.results
        if result.metrics is not None
    ]


@lru_cache(maxsize=1)
def _advice(told: bytes) -> Advice:
    """Of these fields, objective and results: kept, since many proposals are judged by the same results."""
    fields, objective, known = msgspec.msgpack.decode(told, type=tuple[tuple[Field, ...], Objective, list[Compared]])
    return Advice(Space.of(fields), objective, known)
