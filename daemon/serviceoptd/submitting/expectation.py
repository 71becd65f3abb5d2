"""How many launches a run still needs and how long that takes, said before it begins. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean
from typing import Literal

from serviceopt_journal.documents.requests import Expected
from serviceoptd.domain.documents import configurations_left, confirmations_left
from serviceoptd.domain.settings import RunSettings
from serviceoptd.domain.state import RunState, State

SIMULATED: Literal["simulated"] = "simulated"
"""The name of the engine that starts nothing."""

MOST_OTHERS = 5
"""Runs of other identities, the latest ones, that are asked how long a launch takes."""


def expected(run: RunState, state: State) -> Expected:
    """What the rest of a run takes at most, by its budgets.

    The time is that of earlier measurements with the same identity, this run's own included; where there is none, what
    the time limits allow, with the range that launches of the same engine have taken otherwise.
    """
    settings = run.settings
    launches = configurations_left(run) + confirmations_left(run)
    measured = [r for r in state.runs.values() if not r.imported_from]
    same = [r for r in measured if r.measurement_identity == run.measurement_identity]
    spent = {r.number: [p.seconds for p in r.particles.values() if p.admitted and p.seconds > 0] for r in same}
    known = [seconds for each in spent.values() for seconds in each]
    others, ends = ((), None) if known else _of_others(run, (r for r in measured if r not in same), launches)
    limits = settings.limits
    longest = limits.launch + settings.measuring.repeats * limits.measurement + limits.stop + limits.device_memory
    seconds = launches * (fmean(known) if known else longest)
    hours = settings.budget.max_hours
    within = None if hours is None else max(0.0, hours * 3600.0 - run.active_seconds)
    limited = within is not None and within < seconds
    longest_told = within if within is not None and limited else seconds
    return Expected(
        launches=launches,
        seconds=longest_told,
        source="history" if known and not limited else _without_history(settings, limited=limited),
        runs=tuple(number for number, each in spent.items() if each),
        managed=settings.manage_lifecycle,
        between=(min(ends[0], longest_told), min(ends[1], longest_told)) if ends else None,
        others=others,
    )


def _of_others(
    run: RunState, others: Iterable[RunState], launches: int
) -> tuple[tuple[int, ...], tuple[float, float] | None]:
    """Runs of the same engine whose identity is another one, and the range of times by what their launches took.

    Of several runs the means count, since one launch among many is not what a whole run is like; of a single one its
    shortest and longest launch.
    """
    spent = {
        other.number: [p.seconds for p in other.particles.values() if p.admitted and p.seconds > 0 and p.measurements]
        for other in others
        if (other.settings.engine, other.settings.benchmark) == (run.settings.engine, run.settings.benchmark)
    }
    latest = dict([(number, seconds) for number, seconds in spent.items() if seconds][-MOST_OTHERS:])
    if not latest or not launches:
        return (), None
    each = [fmean(seconds) for seconds in latest.values()] if len(latest) > 1 else next(iter(latest.values()))
    return tuple(latest), (launches * min(each), launches * max(each))


def _without_history(settings: RunSettings, *, limited: bool) -> Literal["limits", "max_hours", "simulated"]:
    if settings.engine == SIMULATED:
        return SIMULATED
    return "max_hours" if limited else "limits"
