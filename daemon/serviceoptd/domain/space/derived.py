"""What decides a field's value: itself, a position, or other fields (specification of each: docs/configuration.md)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

from serviceopt_journal.events import Value
from serviceoptd.domain.space.scales import Number, Scale, amount, number

BEYOND = 1e18
"""No derived value is larger before its bounds are applied."""


def whole(value: float) -> int:
    """`int(value)`, with a margin for products such as 0.29 x 100 = 28.999999999999996."""
    return math.trunc(value + math.copysign(1e-9 + abs(value) * 1e-15, value))


@dataclass(frozen=True)
class Bounds:
    """What a derived value may not leave; None: no limit on that side."""

    low: float | None = None
    high: float | None = None

    def clamp(self, value: Number) -> Number:
        """The nearest value inside; an int stays an int."""
        if self.low is not None and value < self.low:
            value = math.ceil(self.low) if isinstance(value, int) else self.low
        if self.high is not None and value > self.high:
            value = math.floor(self.high) if isinstance(value, int) else self.high
        return value

    def whole_numbers(self) -> bool:
        """Whether any int lies inside."""
        return self.low is None or self.high is None or math.ceil(self.low) <= math.floor(self.high)


@dataclass(frozen=True)
class Fixed:
    """A field that always has this value. `low` and `high`: the field's bounds, where it has any, for a `share` of it."""

    value: Value
    low: Number | None = None
    high: Number | None = None


@dataclass(frozen=True)
class Searched:
    """One coordinate of the position decides."""

    scale: Scale


@dataclass(frozen=True)
class Ratio:
    """The value int(ratio x other): the coordinate gives the ratio, from `low` to `high`; equal bounds need none."""

    other: str
    low: float
    high: float

    def limits(self, other: Number) -> tuple[int, int]:
        """The smallest and the largest value for this value of the other field."""
        return whole(self.low * other), whole(self.high * other)

    def decode(self, coordinate: float, other: Number) -> int:
        """The value at `coordinate` in [0, 1]."""
        smallest, largest = self.limits(other)
        return min(max(whole((self.low + coordinate * (self.high - self.low)) * other), smallest), largest)

    def encode(self, value: Number, other: Number) -> float:
        """A coordinate of a legal value: the middle of the ratios that give it."""
        if other == 0 or self.low == self.high:
            return 0.5
        return min(max(((value + 0.5) / other - self.low) / (self.high - self.low), 0.0), 1.0)

    def nearest(self, wish: object, other: Number) -> int | None:
        """The legal value nearest to `wish`; None for what is not a number."""
        wanted = number(wish)
        smallest, largest = self.limits(other)
        return None if wanted is None else round(min(max(wanted, smallest), largest))


@dataclass(frozen=True)
class Share:
    """A field of the value other.min + other.max - other.value, so that the two have a fixed sum."""

    other: str
    bounds: Bounds


@dataclass(frozen=True)
class Scaled:
    """The value product x targets, or product / targets (`divide`); `exact`: the targets are repaired to divide."""

    targets: tuple[str, ...]
    product: Number
    divide: bool
    integral: bool
    bounds: Bounds
    exact: bool = False

    def of(self, values: tuple[Number, ...]) -> Number:
        """The value for these values of the targets, inside the bounds."""
        factor = math.prod(values)
        if self.integral and self.divide and isinstance(self.product, int) and isinstance(factor, int):
            quotient = abs(self.product) // abs(factor)  # exact where floats are not
            return self.bounds.clamp(quotient if (self.product < 0) == (factor < 0) else -quotient)
        if self.divide and abs(factor) < abs(self.product) / BEYOND:
            # A quotient too large for a float; the bounds cut it, or the space refuses the field.
            result = math.copysign(BEYOND, factor) * (1 if self.product > 0 else -1)
        else:
            result = self.product / factor if self.divide else self.product * factor
        result = min(max(result, -BEYOND), BEYOND)
        return self.bounds.clamp(whole(result) if self.integral else float(f"{result:.12g}") + 0.0)


Rule = Fixed | Searched | Ratio | Share | Scaled


def targets(rule: Rule) -> tuple[str, ...]:
    """The fields that the rule reads."""
    match rule:
        case Ratio() | Share():
            return (rule.other,)
        case Scaled():
            return rule.targets
    return ()


def limits(rules: Mapping[str, Rule], name: str, values: Mapping[str, Value] | None = None) -> tuple[Number, Number]:
    """The smallest and the largest value of a numeric field.

    The limits of a `ratio` depend on another field: with `values` those for its present value, else over all of them.
    """
    rule = rules[name]
    match rule:
        case Fixed():
            value = amount(rule.value)
            return (value if rule.low is None else rule.low), (value if rule.high is None else rule.high)
        case Searched():
            return rule.scale.limits()
        case Ratio():
            if values is not None:
                return rule.limits(amount(values[rule.other]))
            low, high = limits(rules, rule.other)
            return rule.limits(low)[0], rule.limits(high)[1]
        case Share():
            low, high = limits(rules, rule.other, values)
            return rule.bounds.clamp(low), rule.bounds.clamp(high)
        case Scaled():
            corners = itertools.product(*(limits(rules, target, values) for target in rule.targets))
            results = [rule.of(corner) for corner in corners]
            return min(results), max(results)


def derive(rules: Mapping[str, Rule], rule: Share | Scaled, values: Mapping[str, Value]) -> Number:
    """The value of a derived field; `values` holds its targets already."""
    if isinstance(rule, Share):
        low, high = limits(rules, rule.other, values)
        total = low + high - amount(values[rule.other])
        return rule.bounds.clamp(total if isinstance(total, int) else float(f"{total:.12g}") + 0.0)
    return rule.of(tuple(amount(values[target]) for target in rule.targets))
