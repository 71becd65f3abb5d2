"""A swarm of particles that cost nothing: it looks for the maximum of a score that is quick to compute.

The same moves as the swarm of the run (`particle_swarm.py`), except that each particle follows the best of its
neighbours in a ring, so that several hills are climbed at once (J. Kennedy, R. Mendes, Population structure and particle
swarm performance, IEEE Congress on Evolutionary Computation, 2002).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from serviceoptd.search.particle_swarm import CONSTRICTION, REBOUND, VELOCITY_LIMIT

Array = NDArray[np.float64]

MOVES = 24
NEIGHBOURS = (-2, -1, 0, 1, 2)


def visited(
    start: Array, held: Array, score: Callable[[Array], tuple[Array, Array]], random: np.random.Generator
) -> tuple[Array, Array]:
    """Every position that the swarm visited, and its score.

    Args:
        start: positions to start from, (n, d) in the unit cube.
        held: 1 where a coordinate of a particle must stay as it is, else 0; (n, d).
        score: takes positions, gives them back as they count, with the score of each; larger is better.
        random: draws numbers.
    """
    inertia, to_own, to_common = CONSTRICTION
    positions, velocities = start.copy(), np.zeros_like(start)
    here, value = score(positions)
    own, own_value = positions.copy(), value.copy()
    seen, scores = [here], [value]
    order = np.arange(len(start))
    for _ in range(MOVES):
        ring = np.stack([np.roll(own_value, -shift) for shift in NEIGHBOURS])
        common = own[(order + np.array(NEIGHBOURS)[ring.argmax(0)]) % len(own)]
        r1, r2 = random.random(start.shape), random.random(start.shape)
        velocities = inertia * velocities + to_own * r1 * (own - positions) + to_common * r2 * (common - positions)
        velocities = np.clip(velocities, -VELOCITY_LIMIT, VELOCITY_LIMIT) * (1 - held)
        moved = positions + velocities
        velocities = np.where((moved < 0) | (moved > 1), -REBOUND * velocities, velocities)
        positions = np.clip(np.where(moved < 0, -moved, np.where(moved > 1, 2 - moved, moved)), 0.0, 1.0)
        here, value = score(positions)
        seen.append(here)
        scores.append(value)
        better = value > own_value
        own[better], own_value = positions[better], np.maximum(own_value, value)
    return np.concatenate(seen), np.concatenate(scores)
