"""Fine-tuning: the best configurations again, each launched once, at other loads.

The predecessor's `pso_top_k`: once the budget of the search is used, the best k configurations have their concurrency and
their request rate changed by `step_size`, `max_fine_tune` times at most. Here a load that keeps the SLOs is raised and one
that breaks them lowered until the edge lies between two measured loads that are less than a tenth apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from math import sqrt

from serviceopt_journal.events import Configuration
from serviceoptd.domain.objective import rank
from serviceoptd.domain.settings import Field
from serviceoptd.domain.state import BEYOND_THE_SEARCH, FINE_TUNING, FULL_DATA_SET, Particle, RunState

CLOSE_ENOUGH = 1.1
"""Ratio of the lowest load that breaks an SLO to the highest that keeps all, below which nothing is left to find."""
WORTH_RAISING = 1.01
"""Ratio by which the last raise must have improved the objective for another one: beyond it the service is saturated."""


def next_finalist(run: RunState) -> tuple[Configuration, str] | None:
    """The configuration to measure next, and its origin; None when every finalist is done.

    Where the search used a sample of the data set, each finalist is first measured with all of it.
    Pure and without memory: it follows from what has been measured.
    """
    for finalist in finalists(run):
        known = _alike(run, finalist)
        if not known:
            return finalist.configuration, FULL_DATA_SET
        tuned = sum(p.origin == FINE_TUNING for p in known)
        if tuned >= (run.settings.fine_tuning.most if run.settings.fine_tuning.top_k else 0):
            continue
        best = min(known, key=lambda p: (run.judgement(p).fitness, p.number))
        for field in _load_fields(run):
            if (configuration := _step(run, field, best, known)) is not None:
                return configuration, FINE_TUNING
    return None


def _alike(run: RunState, finalist: Particle) -> list[Particle]:
    """What was measured with the finalist's service parameters, and can be compared with each other."""
    key = run.space.service_key(finalist.configuration)
    same = (p for p in run.particles.values() if run.space.service_key(p.configuration) == key and p.matched is None)
    admitted = (p for p in same if not p.rejected)
    return [p for p in admitted if run.settings.sample is None or p.origin in BEYOND_THE_SEARCH]


def finalists(run: RunState) -> list[Particle]:
    """The best particles of the search that could be measured, each with service parameters of its own."""
    count = run.settings.fine_tuning.top_k or (1 if run.settings.sample is not None else 0)
    if count == 0:
        return []
    searched = (p for p in run.particles.values() if p.origin not in BEYOND_THE_SEARCH)
    measured = [p for p in searched if run.result_of(p) is not None]
    order = [measured[index] for index in rank([run.judgement(p) for p in measured])]
    return list(islice(_distinct(run, order), count))


def _distinct(run: RunState, particles: list[Particle]) -> Iterator[Particle]:
    seen = set()
    for particle in particles:
        key = run.space.service_key(particle.configuration)
        if key not in seen:
            seen.add(key)
            yield particle


def _load_fields(run: RunState) -> list[Field]:
    return [field for field in run.space.dimensions if field.load and field.dtype in ("int", "float", "range")]


def _step(run: RunState, field: Field, best: Particle, known: list[Particle]) -> Configuration | None:
    """The next value of one load field, the others as in the best particle; None when its edge is found."""
    points = {
        float(p.configuration[field.name]): p
        for p in known
        if all(p.configuration[f.name] == best.configuration[f.name] for f in _load_fields(run) if f != field)
    }
    value = _next_value(run, field, points)
    if value is None:
        return None
    configuration = run.space.repair({**best.configuration, field.name: value})
    taken = {run.space.key(p.configuration) for p in known}
    return None if run.space.key(configuration) in taken else configuration


def _next_value(run: RunState, field: Field, points: dict[float, Particle]) -> float | None:
    feasible = sorted(value for value, p in points.items() if run.judgement(p).feasible)
    broken = sorted(value for value, p in points.items() if not run.judgement(p).feasible)
    step = run.settings.fine_tuning.step_size
    if not feasible:
        return max(field.min, broken[0] * step) if broken and broken[0] > field.min else None
    highest = feasible[-1]
    above = [value for value in broken if value > highest]
    if above:
        return sqrt(highest * above[0]) if above[0] / max(highest, 1e-9) > CLOSE_ENOUGH else None
    if highest >= field.max or (len(feasible) > 1 and not _worth_it(run, points[feasible[-2]], points[highest])):
        return None
    return min(field.max, highest / step)


def _worth_it(run: RunState, before: Particle, after: Particle) -> bool:
    lower, higher = run.judgement(before).objective, run.judgement(after).objective
    return lower is not None and higher is not None and higher > lower * WORTH_RAISING
