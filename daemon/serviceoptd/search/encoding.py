"""Encodes positions as the models see them: canonical coordinates, features, and the values with a known role. Read-only."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from functools import cached_property, lru_cache

import msgspec
import numpy as np
from numpy.typing import NDArray

from serviceopt_journal.events import Value
from serviceoptd.domain.space.repaired_space import Repair, RepairedSpace
from serviceoptd.domain.space.space import Space

Array = NDArray[np.float64]

PROBES = 513
REMEMBERED = 4
"""So many spaces are kept as they were probed."""
FEW = 64
"""Up to so many values a dimension counts as discrete: virtual particles stand on its values only."""

SEQUENCES = frozenset({"maxnumseqs", "maxbatchsize", "maxrunningrequests", "parallel", "maxconcurrentrequests"})
CONCURRENCY = frozenset({"concurrency", "maxconcurrency"})
RATE = frozenset({"requestrate"})


@dataclass(frozen=True)
class _Dimension:
    coordinates: Array  # probed
    canonical: Array  # of each probe: that of its value
    values: Array | None  # of each probe; None: text
    choices: int | None  # how many; None: many
    one_hot: bool


@dataclass(frozen=True)
class _Probed:
    """A space, equal to every other one that decodes alike: a proposal has its space from the journal, each time anew."""

    space: Space = dataclasses.field(compare=False)
    fields: bytes
    repaired: Repair | None

    @classmethod
    def of(cls, space: Space) -> _Probed:
        repaired = space.repaired if isinstance(space, RepairedSpace) else None
        return cls(space, msgspec.msgpack.encode(space.fields), repaired)


class Encoding:
    """How the models see the positions of one space. Ask `of` for it: making one takes as long as a proposal."""

    @classmethod
    def of(cls, space: Space) -> Encoding:
        """That of this space, which is kept: it is the same in the whole run."""
        return _encoding(_Probed.of(space))

    def __init__(self, space: Space) -> None:
        self.space = space
        self._dimensions = [_probed(space, index) for index in range(len(space.dimensions))]
        self._grids = [
            np.unique(d.canonical) if d.choices is not None and d.choices <= FEW else None for d in self._dimensions
        ]
        self._middle = space.decode([0.5] * len(space.dimensions))
        self.load = np.array([field.load for field in space.dimensions], dtype=bool)

    def canonical(self, positions: Array) -> Array:
        """The canonical coordinates of the same configurations, where their values are few. (n, d)"""
        out = np.clip(np.array(positions, dtype=np.float64, ndmin=2), 0.0, 1.0)
        for index, dimension in enumerate(self._dimensions):
            if self._grids[index] is not None:
                nearest = np.clip(np.rint(out[:, index] * (PROBES - 1)).astype(int), 0, PROBES - 1)
                out[:, index] = dimension.canonical[nearest]
        return out

    def features(self, positions: Array) -> Array:
        """Numbers about the unit cube in which near means alike; `positions` canonical, (n, d) -> (n, k)."""
        columns = []
        for index, dimension in enumerate(self._dimensions):
            grid, here = self._grids[index], positions[:, index]
            if grid is None or len(grid) < 2:
                columns.append(here)
            elif dimension.one_hot:
                columns += [np.isclose(here, choice) / np.sqrt(2) for choice in grid]
            else:
                columns.append((here - grid[0]) / (grid[-1] - grid[0]))
        return np.stack(columns, axis=1).astype(np.float64)

    @cached_property
    def is_service_feature(self) -> NDArray[np.bool_]:
        """Which features belong to the service's parameters, in the order of `features`."""
        flags: list[bool] = []
        for index, dimension in enumerate(self._dimensions):
            grid = self._grids[index]
            wide = dimension.one_hot and grid is not None and len(grid) >= 2
            flags += [not self.load[index]] * (len(grid) if wide and grid is not None else 1)
        return np.array(flags, dtype=bool)

    def amount(self, names: frozenset[str], positions: Array) -> Array | None:
        """The value of the parameter with one of these names at each position; None where the space has none.

        Zero or less, which means "not limited", gives infinity.
        """
        for index, field in enumerate(self.space.dimensions):
            dimension = self._dimensions[index]
            if letters(field.name) in names and dimension.values is not None:
                return _limited(np.interp(positions[:, index], dimension.coordinates, dimension.values))
        for name, value in self._middle.items():
            if letters(name) in names and _number(value) is not None:
                return _limited(np.full(len(positions), _number(value)))
        return None


@lru_cache(maxsize=REMEMBERED)
def _encoding(probed: _Probed) -> Encoding:
    return Encoding(probed.space)


def _limited(values: Array) -> Array:
    return np.where(values > 0, values, np.inf)


def letters(name: str) -> str:
    """The letters of a parameter's name, small: engines spell the same parameter in several ways."""
    return re.sub(r"[^a-z]", "", name.casefold())


def _number(value: Value) -> float | None:
    return None if isinstance(value, str) else float(value)


def _probed(space: Space, index: int) -> _Dimension:
    name = space.dimensions[index].name
    coordinates = np.linspace(0.0, 1.0, PROBES)
    middle = [0.5] * len(space.dimensions)
    values: list[Value] = []
    canonical: list[float] = []
    encoded: dict[Value, float] = {}
    for coordinate in coordinates:
        middle[index] = float(coordinate)
        configuration = space.decode(middle)
        value = configuration[name]
        if value not in encoded:
            encoded[value] = space.encode(configuration)[index]
        values.append(value)
        canonical.append(encoded[value])
    numbers = [_number(value) for value in values]
    numeric = all(number is not None for number in numbers)
    discrete = len(encoded) <= FEW and space.dimensions[index].dtype != "ratio"
    return _Dimension(
        coordinates=coordinates,
        canonical=np.array(canonical),
        values=np.array(numbers, dtype=np.float64) if numeric else None,
        choices=len(encoded) if discrete else None,
        one_hot=not numeric and len(encoded) > 2,
    )
