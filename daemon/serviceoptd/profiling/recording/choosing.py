"""Which configurations and loads are profiled: the current setting, then points that fill the space evenly. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count, islice

from serviceopt_journal.events import Configuration
from serviceoptd.domain.space.space import Space
from serviceoptd.domain.statistics.draws import uniforms

PURPOSE = "profiled"
TRIES = 100  # points that are looked at for each one that is wanted


def configurations(
    space: Space, number: int, *, seed: int, accepts: Callable[[Configuration], bool]
) -> list[Configuration]:
    """At most `number` configurations that differ in their service parameters: the current setting first.

    `accepts`: whether the engine would start with it. There are fewer where the space has no more.
    """
    chosen = {space.service_key(first): first for first in [space.repair({})] if accepts(first)}
    for position in points(len(space.dimensions), seed, number * TRIES):
        if len(chosen) >= number:
            break
        found = space.decode(position)
        if space.service_key(found) not in chosen and accepts(found):
            chosen[space.service_key(found)] = found
    return list(chosen.values())


def loads(space: Space, configuration: Configuration, place: int, number: int, *, seed: int) -> list[Configuration]:
    """At most `number` loads for one configuration, the one at `place`: other ones for each, so that all fill the space.

    The first configuration's first load is its own, which is the current setting's.
    """
    searched = [index for index, field in enumerate(space.dimensions) if field.load]
    chosen = {space.key(configuration): configuration} if not place or not searched else {}
    for point in islice(points(len(searched), seed, (place + TRIES) * number), place * number, None):
        if len(chosen) >= number:
            break
        position = list(space.encode(configuration))
        for index, coordinate in zip(searched, point, strict=True):
            position[index] = coordinate
        found = space.decode(position)
        if space.service_key(found) == space.service_key(configuration):
            chosen.setdefault(space.key(found), found)
    return list(chosen.values())


def points(dimensions: int, seed: int, number: int) -> Iterator[tuple[float, ...]]:
    """Evenly spread points of the unit cube, the first ones too: Halton's sequence (1960), shifted at random."""
    bases = list(islice(_primes(), dimensions))
    shifts = uniforms(seed, PURPOSE, 0, dimensions)
    for index in range(1, number + 1):
        yield tuple((shift + _mirrored(index, base)) % 1.0 for shift, base in zip(shifts, bases, strict=True))


def _mirrored(number: int, base: int) -> float:
    """The digits of a number mirrored at the point: 6 in base 2 is 110, which gives 0.011, or 3/8."""
    mirrored, place = 0.0, 1.0
    while number:
        number, digit = divmod(number, base)
        place /= base
        mirrored += digit * place
    return mirrored


def _primes() -> Iterator[int]:
    return (number for number in count(2) if all(number % smaller for smaller in range(2, number)))
