"""How lengths are spread that a client draws. Pure; numbers come from the caller, so equal ones give equal lengths."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["uniform", "normal", "zipf"]


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """Whole numbers from `min` to `max`; what is drawn beyond them becomes one of the two."""

    kind: Kind
    min: int
    max: int
    mean: float = 0.0  # of `normal`, before it is bounded
    deviation: float = 0.0  # of `normal`: the standard deviation
    exponent: float = 2.0  # of `zipf`, above 1: k occurs in proportion to k^-exponent

    def drawn(self, numbers: Iterator[float]) -> int:
        """One length, from uniform numbers in [0, 1)."""
        if self.kind == "uniform":
            return self.min + int(next(numbers) * (self.max - self.min + 1))
        value = self._normal(numbers) if self.kind == "normal" else self._zipf(numbers)
        return round(max(self.min, min(self.max, value)))

    def _normal(self, numbers: Iterator[float]) -> float:
        radius = math.sqrt(-2.0 * math.log1p(-next(numbers)))  # Box and Muller (1958)
        return self.mean + self.deviation * radius * math.cos(2.0 * math.pi * next(numbers))

    def _zipf(self, numbers: Iterator[float]) -> float:
        """By rejection (Devroye, Non-Uniform Random Variate Generation, 1986, chapter X.6), as numpy does."""
        less = self.exponent - 1.0
        top = 2.0**less
        while True:
            spread, accepted = 1.0 - next(numbers), next(numbers)
            try:
                value = float(math.floor(spread ** (-1.0 / less)))
            except OverflowError:
                return float(self.max)
            ratio = (1.0 + 1.0 / value) ** less
            if accepted * value * (ratio - 1.0) / (top - 1.0) <= ratio / top:
                return value
