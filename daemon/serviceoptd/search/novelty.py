"""Configurations that were not proposed yet: what keeps a search from repeating itself."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence

from serviceoptd.domain.space.space import Key, Position, Space
from serviceoptd.domain.statistics.draws import uniforms

NEIGHBOUR_DRAWS = 64
FIRST_RADIUS = 0.02  # of the unit cube's side
RADIUS_GROWTH = 1.08  # 64 draws reach across the whole cube
UNIFORM_DRAWS = 256
LAST_UNIFORM_DRAWS = 20_000
"""Where a float is searched there is always something new, so these never run out in practice."""


def reflected(coordinate: float) -> tuple[float, bool]:
    """The coordinate mirrored at the wall of [0, 1] that it passed, and whether it passed one."""
    if coordinate < 0.0:
        return min(-coordinate, 1.0), True
    if coordinate > 1.0:
        return max(2.0 - coordinate, 0.0), True
    return coordinate, False


def exhausted(space: Space, count: int) -> bool:
    """Whether `count` distinct configurations are all that the space holds, as far as it can tell at once."""
    cardinality = space.cardinality()
    return cardinality is not None and count >= cardinality


def unseen_neighbour(
    space: Space, near: Sequence[float], seen: Container[Key], draw: Callable[[str, int], list[float]]
) -> Position | None:
    """A position whose configuration is new, as near to `near` as random steps of growing length find one."""
    size = len(near)
    steps = draw("neighbour", NEIGHBOUR_DRAWS * size)
    radius = FIRST_RADIUS
    for attempt in range(NEIGHBOUR_DRAWS):
        step = steps[attempt * size : (attempt + 1) * size]
        position = tuple(reflected(here + radius * (2 * u - 1))[0] for here, u in zip(near, step, strict=True))
        if space.key(space.decode(position)) not in seen:
            return position
        radius *= RADIUS_GROWTH
    return None


def unseen_anywhere(space: Space, seen: Container[Key], draw: Callable[[str, int], list[float]]) -> Position | None:
    """A position whose configuration is new: drawn evenly, else the first that is left; None: none is left."""
    if (position := _drawn(space, seen, draw, "uniform", UNIFORM_DRAWS)) is not None:
        return position
    if space.is_continuous:
        return _drawn(space, seen, draw, "uniform-again", LAST_UNIFORM_DRAWS)
    # Passes over nothing but what was seen, so it takes no longer than the search so far.
    left = (found for found in space.configurations() if space.key(found) not in seen)
    return next((space.encode(found) for found in left), None)


def drawing(seed: int, particle: int, strategy: str) -> Callable[[str, int], list[float]]:
    """Random numbers of one particle, by purpose and count."""
    return lambda purpose, count: uniforms(seed, f"{strategy} {purpose}", particle, count)


def _drawn(
    space: Space, seen: Container[Key], draw: Callable[[str, int], list[float]], purpose: str, draws: int
) -> Position | None:
    size = len(space.dimensions)
    chunk = 32
    numbers: list[float] = []
    for attempt in range(draws):
        if attempt % chunk == 0:
            numbers = draw(f"{purpose} {attempt // chunk}", chunk * size)
        start = attempt % chunk * size
        position = tuple(numbers[start : start + size])
        if space.key(space.decode(position)) not in seen:
            return position
    return None
