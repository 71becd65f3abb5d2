"""How many launches a run still needs and how long that takes, said before it begins. Pure."""

from __future__ import annotations

from statistics import fmean
from typing import Literal

from serviceopt_journal.documents.requests import Expected
from serviceoptd.domain.documents import confirmations_left
from serviceoptd.domain.settings import RunSettings
from serviceoptd.domain.state import RunState, State

SIMULATED: Literal["simulated"] = "simulated"
"""The name of the engine that starts nothing."""


def expected(run: RunState, state: State) -> Expected:
    """What the rest of a run takes at most, by its budgets.

    The time is that of earlier measurements with the same identity, this run's own included; where there is none, what
    the time limits allow.
    """
    settings = run.settings
    launches = max(0, settings.budget.evaluations - run.admitted) + confirmations_left(run)
    same = [
        r for r in state.runs.values() if r.measurement_identity == run.measurement_identity and not r.imported_from
    ]
    spent = {r.number: [p.seconds for p in r.particles.values() if p.admitted and p.seconds > 0] for r in same}
    known = [seconds for each in spent.values() for seconds in each]
    limits = settings.limits
    longest = limits.launch + settings.measuring.repeats * limits.measurement + limits.stop + limits.device_memory
    seconds = launches * (fmean(known) if known else longest)
    hours = settings.budget.max_hours
    within = None if hours is None else max(0.0, hours * 3600.0 - run.active_seconds)
    limited = within is not None and within < seconds
    return Expected(
        launches=launches,
        seconds=within if within is not None and limited else seconds,
        source="history" if known and not limited else _without_history(settings, limited=limited),
        runs=tuple(number for number, each in spent.items() if each),
        managed=settings.manage_lifecycle,
    )


def _without_history(settings: RunSettings, *, limited: bool) -> Literal["limits", "max_hours", "simulated"]:
    if settings.engine == SIMULATED:
        return SIMULATED
    return "max_hours" if limited else "limits"
