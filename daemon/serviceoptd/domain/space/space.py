"""The search space: from a position in the unit cube to the configuration that will be run, and back.

What each dtype means: docs/configuration.md. Which coordinate gives which value: docs/search.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from serviceopt_journal.events import Configuration, Value
from serviceoptd.domain.settings import Field
from serviceoptd.domain.space.derived import Fixed, Ratio, Searched, derive, targets
from serviceoptd.domain.space.divisors import DividingPairs
from serviceoptd.domain.space.scales import Number, amount
from serviceoptd.domain.space.space_reading import InvalidSpace, Reading, SpaceProblem, read

__all__ = ["InvalidSpace", "Key", "Position", "Space", "SpaceProblem"]

Position = tuple[float, ...]
Key = tuple[tuple[type, Value], ...]

COUNTED_AT_MOST = 100_000
"""Combinations that are gone through one by one to count a space whose fields depend on each other."""


@dataclass(frozen=True)
class Space:
    """Every configuration that the target fields allow. Build it with `Space.of`.

    A configuration that comes out of it is legal: inside the bounds, of the right Python type for every dtype, derived
    fields in line with the others. `decode(encode(configuration)) == configuration` for all of those.
    """

    fields: tuple[Field, ...]

    @classmethod
    def of(cls, fields: Sequence[Field]) -> Space:
        """The space of these fields, names in configuration order.

        Raises:
            InvalidSpace: with all problems of all fields.
        """
        space = cls(tuple(fields))
        _ = space._reading
        return space

    @cached_property
    def _reading(self) -> Reading:
        return read(self.fields)

    @cached_property
    def dimensions(self) -> tuple[Field, ...]:
        """The fields that are searched, in configuration order: one coordinate of a position each."""
        rules = self._reading.rules
        return tuple(
            field
            for field in self.fields
            if isinstance(rule := rules[field.name], Searched) or (isinstance(rule, Ratio) and rule.low < rule.high)
        )

    def decode(self, position: Sequence[float]) -> Configuration:
        """The configuration at a position; coordinates outside [0, 1] count as the nearer end.

        Raises:
            ValueError: another number of coordinates than of dimensions, or one that is not a number.
        """
        if len(position) != len(self.dimensions) or any(math.isnan(coordinate) for coordinate in position):
            raise ValueError(f"a position of this space has {len(self.dimensions)} coordinates, not {position!r}")
        inside = (min(max(float(coordinate), 0.0), 1.0) for coordinate in position)
        coordinates = dict(zip((field.name for field in self.dimensions), inside, strict=True))
        return self._completed(
            lambda name, rule: rule.scale.decode(coordinates[name]),
            lambda name, rule, other: rule.decode(coordinates.get(name, 0.5), other),
        )

    def encode(self, configuration: Mapping[str, Value]) -> Position:
        """A position of a legal configuration (`repair` makes any configuration legal)."""

        def coordinate(name: str) -> float:
            rule, value = self._reading.rules[name], configuration[name]
            if isinstance(rule, Searched):
                return rule.scale.encode(value)
            assert isinstance(rule, Ratio)  # noqa: S101 - dimensions holds nothing else
            return rule.encode(amount(value), amount(configuration[rule.other]))

        return tuple(min(max(coordinate(field.name), 0.0), 1.0) for field in self.dimensions)

    def repair(self, configuration: Mapping[str, object]) -> Configuration:
        """The legal configuration nearest to any mapping: every searched value is moved to the nearest legal one.

        A value that is missing or makes no sense is taken from the field's `value`, else from the middle of its scale;
        unknown names are dropped, fixed and derived fields get the value they must have. Legal ones are left alone.
        """
        wishes = {field.name: (configuration.get(field.name), field.value) for field in self.fields}

        def searched(name: str, rule: Searched) -> Value:
            near = (rule.scale.nearest(wish) for wish in wishes[name] if wish is not None)
            return next((value for value in near if value is not None), rule.scale.decode(0.5))

        def ratio(name: str, rule: Ratio, other: Number) -> Value:
            near = (rule.nearest(wish, other) for wish in wishes[name] if wish is not None)
            return next((value for value in near if value is not None), rule.decode(0.5, other))

        return self._completed(searched, ratio)

    def current(self) -> Configuration | None:
        """The current setting, from the fields' `value`; None when no searched field has one.

        A searched field without a value counts as set to the middle of its scale.
        """
        return self.repair({}) if any(field.value is not None for field in self.dimensions) else None

    def key(self, configuration: Mapping[str, Value]) -> Key:
        """What tells two configurations apart; hashable."""
        # 1, 1.0 and True are equal and hash alike, but are not the same setting.
        values = tuple(map(configuration.__getitem__, self._names))
        return tuple(zip(map(type, values), values, strict=True))

    def service_key(self, configuration: Mapping[str, Value]) -> Key:
        """The part of `key` for which the service must be started anew."""
        values = tuple(map(configuration.__getitem__, self._service_names))
        return tuple(zip(map(type, values), values, strict=True))

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.fields)

    @cached_property
    def _service_names(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.fields if not field.load)

    def cardinality(self) -> int | None:
        """How many configurations there are.

        None: a float is searched, or more than 100,000 combinations of fields that depend on each other would have to
        be gone through to know. `configurations` ends all the same, where no float is searched.
        """
        return self._cardinality

    @cached_property
    def _cardinality(self) -> int | None:
        if self.is_continuous:
            return None
        factors, walked = 1, 1
        for name, rule in self._reading.rules.items():
            if isinstance(rule, Searched) and (count := rule.scale.count) is not None:
                if name in self._decisive:
                    walked *= 1 if any(name in (p.first, p.second) for p in self._reading.pairs) else count
                else:
                    factors *= count
        for pair in self._reading.pairs:
            walked *= len(pair.pairs)
        if walked > COUNTED_AT_MOST:
            return None
        total, visited = 0, 0
        for values in self._walk({}, [name for name in self._sequence if name in self._decisive]):
            ways = 1
            for name, rule in self._reading.rules.items():
                if isinstance(rule, Ratio) and name not in self._decisive:
                    smallest, largest = rule.limits(amount(values[rule.other]))
                    ways *= largest - smallest + 1
            total, visited = total + ways, visited + 1
            if visited > COUNTED_AT_MOST:
                return None
        return total * factors

    @cached_property
    def is_continuous(self) -> bool:
        """Whether a float is searched, so that there is always another configuration."""
        rules = self._reading.rules.values()
        return any(isinstance(rule, Searched) and rule.scale.count is None for rule in rules)

    def configurations(self) -> Iterator[Configuration]:
        """Every configuration once, lazily, smallest values first. Only for spaces without a searched float."""
        for values in self._walk({}, list(self._sequence)):
            yield {field.name: values[field.name] for field in self.fields}

    @cached_property
    def _sequence(self) -> tuple[str, ...]:
        """All names, each after those it depends on."""
        order = self._reading.order
        return (*(field.name for field in self.fields if field.name not in order), *order)

    @cached_property
    def _decisive(self) -> frozenset[str]:
        """The fields whose value decides how many values another one has."""
        rules, pairs = self._reading.rules, self._reading.pairs
        decisive = {name for pair in pairs for name in (pair.first, pair.second)}
        decisive |= {rule.other for rule in rules.values() if isinstance(rule, Ratio)}
        for name in reversed(self._reading.order):
            if name in decisive:
                decisive.update(targets(rules[name]))
        return frozenset(decisive)

    def _walk(self, values: dict[str, Value], names: list[str]) -> Iterator[dict[str, Value]]:
        if not names:
            yield values
            return
        for value in self._options(names[0], values):
            yield from self._walk({**values, names[0]: value}, names[1:])

    def _options(self, name: str, values: Mapping[str, Value]) -> Iterator[Value]:
        rule = self._reading.rules[name]
        match rule:
            case Fixed():
                return iter((rule.value,))
            case Searched():
                pair = next((pair for pair in self._reading.pairs if name in (pair.first, pair.second)), None)
                return rule.scale.values() if pair is None else _paired(pair, name, values)
            case Ratio():
                smallest, largest = rule.limits(amount(values[rule.other]))
                return iter(range(smallest, largest + 1))
        return iter((derive(self._reading.rules, rule, values),))

    def _completed(
        self, searched: Callable[[str, Searched], Value], ratio: Callable[[str, Ratio, Number], Value]
    ) -> Configuration:
        rules = self._reading.rules
        values: dict[str, Value] = {}
        for name, rule in rules.items():
            if isinstance(rule, Fixed):
                values[name] = rule.value
            elif isinstance(rule, Searched):
                values[name] = searched(name, rule)
        for pair in self._reading.pairs:
            pair.repair(values, rules)
        for name in self._reading.order:
            rule = rules[name]
            if isinstance(rule, Ratio):
                values[name] = ratio(name, rule, amount(values[rule.other]))
            elif not isinstance(rule, Fixed | Searched):
                values[name] = derive(rules, rule, values)
        return {field.name: values[field.name] for field in self.fields}


def _paired(pair: DividingPairs, name: str, values: Mapping[str, Value]) -> Iterator[Value]:
    """The values of one of a pair that go with what is known of the other."""
    partner, place = (pair.second, 0) if name == pair.first else (pair.first, 1)
    fitting = (p for p in pair.pairs if partner not in values or p[1 - place] == values[partner])
    return iter(dict.fromkeys(p[place] for p in fitting))
