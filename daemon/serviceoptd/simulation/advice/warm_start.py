"""The first configurations of a run, by its simulator: spread over the space, simulated, and the best few taken. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serviceopt_journal.events import Configuration
from serviceopt_journal.metrics import Metrics
from serviceoptd.domain.settings import Objective
from serviceoptd.domain.space.space import Position, Space
from serviceoptd.domain.statistics.draws import uniforms
from serviceoptd.search.gaussian_process import on_one_thread
from serviceoptd.simulation.advice.advice import Advice, Compared, usable
from serviceoptd.simulation.advice.simulator import Simulator

CANDIDATES = 200
APART = 0.1
"""Least distance, in the unit cube, from what was proposed already."""
CAUTION = 2.0
"""Power of the probability to keep every latency objective, as in the search (`search/acquisition.py`)."""
RIGHT = 0.5
"""Weight below which the simulator has been wrong in this run, and chooses nothing. While nothing is known it is 0.5."""


@dataclass(frozen=True)
class First:
    """A configuration that the simulator chose, with what it expects there, corrected by the results so far."""

    position: Position
    expected: Metrics | None
    probability_feasible: float


def candidates(space: Space, seed: int) -> Iterator[Configuration]:
    """Spread evenly over the space: multiples of an irrational vector, from a place of the run's own.

    The generalised golden ratio: M. Roberts, The Unreasonable Effectiveness of Quasirandom Sequences, 2018.
    """
    size = len(space.dimensions)
    ratio = 1.5
    for _ in range(50):
        ratio = (1.0 + ratio) ** (1.0 / (size + 1))
    step = ratio ** -np.arange(1.0, size + 1)
    start = np.array(uniforms(seed, "simulated", 0, size))
    for number in range(CANDIDATES):
        yield space.decode([float(coordinate) for coordinate in (start + number * step) % 1.0])


@on_one_thread  # type: ignore[untyped-decorator]
def chosen(
    space: Space,
    objective: Objective,
    compared: Sequence[Compared],
    simulator: Simulator,
    *,
    seed: int,
    taken: Sequence[Configuration],
) -> First | None:
    """The best candidate by its corrected prediction; None where the simulator has been wrong, or knows none.

    Args:
        space: what is searched.
        objective: what counts.
        compared: what was measured so far; without any of it nothing is chosen.
        simulator: what is asked.
        seed: of the run.
        taken: configurations that were proposed already.
    """
    if not usable(objective, compared):
        return None
    advice = Advice(space, objective, compared)
    if advice.weight < RIGHT:
        return None
    there = np.array([space.encode(each) for each in taken])
    asked = [each for each in candidates(space, seed) if _nearest(there, space.encode(each)) >= APART]
    if not asked:
        return None
    outlook = advice.outlook(asked, [simulator(each, objective.slos) for each in asked])
    log_kept = outlook.log_kept()
    score = np.where(outlook.known, outlook.objective.corrected + CAUTION * log_kept, -np.inf)
    best = int(np.argmax(score))
    if not np.isfinite(score[best]):
        return None
    return First(
        position=space.encode(asked[best]),
        expected=advice.expected(outlook, best),
        probability_feasible=float(np.exp(log_kept[best])),
    )


def _nearest(there: NDArray[np.float64], position: Position) -> float:
    return float(np.linalg.norm(there - np.array(position), axis=1).min())
