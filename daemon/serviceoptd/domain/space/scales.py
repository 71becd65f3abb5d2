"""How the values of one searched field lie on the unit interval, and back.

Every scale keeps three promises: `decode` gives legal values only, of one Python type; every legal value is reached;
`decode(encode(value)) == value` for every value that `decode` or `nearest` gave.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from serviceopt_journal.events import Value

Number = int | float

DECADE = 10.0
"""From this ratio of max to min on (and min > 0) a scale is logarithmic: each factor gets the same room."""


def number(value: object) -> float | None:
    """The finite or infinite number that `value` is or spells; None for anything else, not-a-number included."""
    if not isinstance(value, int | float | str):
        return None
    try:
        parsed = float(value)
    except OverflowError:  # an int beyond the largest float
        return math.inf if isinstance(value, int) and value > 0 else -math.inf
    except ValueError:
        return None
    return None if math.isnan(parsed) else parsed


def amount(value: Value) -> Number:
    """The number that a field's value is. Text never gets here: the space refuses it as a target."""
    if isinstance(value, str):
        raise TypeError(f"{value!r} is not a number")
    return value


def spans_a_decade(low: float, high: float) -> bool:
    """Whether a parameter from `low` to `high` is searched on a logarithmic scale."""
    # Below 1e-12 the quotient of the bounds could overflow; no parameter is that small.
    return low >= 1e-12 and high / low >= DECADE


class Scale(Protocol):
    """The values of one field, in order."""

    @property
    def count(self) -> int | None:
        """How many values; None: as many as a float holds."""

    def decode(self, coordinate: float) -> Value:
        """The value at `coordinate` in [0, 1]."""

    def encode(self, value: Value) -> float:
        """A coordinate of a legal value."""

    def nearest(self, wish: object) -> Value | None:
        """The legal value nearest to `wish`; None where nothing is near, as for a text where a number should be."""

    def values(self) -> Iterator[Value]:
        """Every legal value in order. Only where `count` is not None."""

    def limits(self) -> tuple[Number, Number]:
        """The smallest and the largest value; for a grid its maximum as configured. Numbers only."""


@dataclass(frozen=True)
class Grid:
    """The values low, low + step and so on (`count` of them), never above `high`; ints where `integral`.

    Linear: equal bins. Logarithmic: each value owns the part of the axis that is nearer to it than to its neighbours,
    so the bins of small values are wider and both ends are reached.
    """

    low: Number
    high: Number
    step: Number
    count: int
    integral: bool
    logarithmic: bool

    @classmethod
    def between(cls, low: float, high: float, step: float) -> Grid:
        """The grid from `low` in steps of `step` up to at most `high`; ints when low and step are whole numbers."""
        if low == int(low) and step == int(step):
            count = (math.floor(high) - int(low)) // int(step) + 1
            return cls(int(low), _exact(high), int(step), count, True, spans_a_decade(low, high))
        # The tolerance keeps 0.1, 0.2, 0.3 complete although (0.3 - 0.1) / 0.1 is 1.9999999999999998.
        count = math.floor((high - low) / step + 1e-9) + 1
        return cls(low, high, step, count, False, spans_a_decade(low, high))

    def _value(self, index: int) -> Value:
        value = self.low + index * self.step
        if self.integral:
            return int(value)
        rounded = round(value, 6 - math.floor(math.log10(self.step)))
        return float(min(max(rounded, self.low), self.high)) + 0.0

    def _index(self, value: float) -> int:
        last = self.count - 1
        bounded = min(max(value, self.low), self.low + last * self.step)
        return min(max(round((bounded - self.low) / self.step), 0), last)

    def _edges(self) -> tuple[float, float]:
        last = self.low + (self.count - 1) * self.step
        return max(self.low - self.step / 2, self.low / 2), last + self.step / 2

    def decode(self, coordinate: float) -> Value:
        if self.logarithmic:
            first, last = self._edges()
            return self._value(self._index(first * (last / first) ** coordinate))
        return self._value(min(int(coordinate * self.count), self.count - 1))

    def encode(self, value: Value) -> float:
        if self.logarithmic:
            first, last = self._edges()
            return math.log(float(value) / first) / math.log(last / first)
        return (self._index(float(value)) + 0.5) / self.count

    def nearest(self, wish: object) -> Value | None:
        wanted = number(wish)
        return None if wanted is None else self._value(self._index(wanted))

    def values(self) -> Iterator[Value]:
        return (self._value(index) for index in range(self.count))

    def limits(self) -> tuple[Number, Number]:
        return self.low, self.high


@dataclass(frozen=True)
class Continuous:
    """Every float from `low` to `high`, rounded so that people can read it: both bounds exactly, between them to six
    decimal places below the width's leading digit (linear) or six significant digits (logarithmic)."""

    low: float
    high: float

    @property
    def count(self) -> int | None:
        return None

    @property
    def logarithmic(self) -> bool:
        """Whether the values are spaced evenly in their logarithm."""
        return spans_a_decade(self.low, self.high)

    def _readable(self, value: float) -> float:
        width, size = self.high - self.low, max(abs(self.low), abs(self.high))
        if self.logarithmic:
            rounded = float(f"{value:.6g}")
        else:
            # Never finer than twelve digits of the larger bound: that is where the arithmetic itself rounds.
            rounded = round(value, min(6 - math.floor(math.log10(width)), 12 - math.floor(math.log10(size))))
        # A value too near to a bound to have a coordinate of its own is that bound.
        if rounded - self.low <= 1e-9 * (self.low if self.logarithmic else width):
            return self.low
        if self.high - rounded <= 1e-9 * (self.high if self.logarithmic else width):
            return self.high
        return rounded + 0.0

    def decode(self, coordinate: float) -> Value:
        if coordinate <= 0.0:
            return self.low
        if coordinate >= 1.0:
            return self.high
        if self.logarithmic:
            return self._readable(self.low * (self.high / self.low) ** coordinate)
        return self._readable(self.low + coordinate * (self.high - self.low))

    def encode(self, value: Value) -> float:
        if self.logarithmic:
            return math.log(float(value) / self.low) / math.log(self.high / self.low)
        return (float(value) - self.low) / (self.high - self.low)

    def nearest(self, wish: object) -> Value | None:
        wanted = number(wish)
        if wanted is None or self.low < wanted < self.high:
            return None if wanted is None else self._readable(wanted)
        return self.low if wanted <= self.low else self.high

    def values(self) -> Iterator[Value]:
        raise TypeError("a continuous scale cannot be listed")

    def limits(self) -> tuple[Number, Number]:
        return self.low, self.high


@dataclass(frozen=True)
class Choices:
    """A list of values in equal bins; False and True for a bool, which so is true above 0.5."""

    options: tuple[Value, ...]

    @property
    def count(self) -> int | None:
        return len(self.options)

    def decode(self, coordinate: float) -> Value:
        return self.options[min(max(math.ceil(coordinate * len(self.options)) - 1, 0), len(self.options) - 1)]

    def encode(self, value: Value) -> float:
        return (self._position(value) + 0.5) / len(self.options)

    def _position(self, value: object) -> int:
        # 1, 1.0 and True are equal to Python, but not to an engine.
        return next(i for i, option in enumerate(self.options) if option == value and type(option) is type(value))

    def nearest(self, wish: object) -> Value | None:
        for option in self.options:
            if option == wish and type(option) is type(wish):
                return option
        for option in self.options:
            if str(option).casefold() == str(wish).casefold():
                return option
        wanted = number(wish)
        if wanted is None or any(isinstance(option, str) for option in self.options):
            return None
        bounded = min(max(wanted, -1e300), 1e300)
        return min(self.options, key=lambda option: abs(float(option) - bounded))

    def values(self) -> Iterator[Value]:
        return iter(self.options)

    def limits(self) -> tuple[Number, Number]:
        numbers = [amount(option) for option in self.options]
        return min(numbers), max(numbers)


def _exact(value: float) -> Number:
    """An int where the number is whole."""
    return int(value) if value == int(value) else value
