"""`ternary_factories` of whole numbers: the pairs (a, b) for which product / (a x b) comes out even."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from serviceopt_journal.events import Value
from serviceoptd.domain.space.derived import Fixed, Rule, Scaled, Searched


@dataclass(frozen=True)
class DividingPairs:
    """The legal pairs of the two targets of one field, and the repair of the others."""

    first: str
    second: str
    pairs: Mapping[tuple[Value, Value], tuple[float, float]]  # pair -> its coordinates

    def repair(self, values: dict[str, Value], rules: Mapping[str, Rule]) -> None:
        """Moves the two values to the nearest legal pair, by distance on their scales; a legal pair stays."""
        pair = values[self.first], values[self.second]
        if pair in self.pairs:
            return
        here = _coordinate(rules[self.first], pair[0]), _coordinate(rules[self.second], pair[1])
        nearest = min(self.pairs.items(), key=lambda item: math.dist(item[1], here))
        values[self.first], values[self.second] = nearest[0]


def dividing_pairs(rule: Scaled, rules: Mapping[str, Rule]) -> DividingPairs:
    """Every legal pair of the targets of `rule`, which are fixed or searched; there may be none."""
    first, second = rule.targets
    product = int(rule.product)
    pairs: dict[tuple[Value, Value], tuple[float, float]] = {}
    for a in _values_that_divide(product, rules[first]):
        for b in _values_that_divide(product // a, rules[second]):
            quotient = product // (a * b)
            if rule.bounds.clamp(quotient) == quotient:
                pairs[a, b] = _coordinate(rules[first], a), _coordinate(rules[second], b)
    return DividingPairs(first, second, pairs)


def _values_that_divide(product: int, rule: Rule) -> list[int]:
    """The whole numbers that the rule can give and that divide `product`, in order."""
    if isinstance(rule, Fixed):
        value = rule.value
        return [value] if isinstance(value, int) and value != 0 and product % value == 0 else []
    if not isinstance(rule, Searched):
        return []
    low, high = rule.scale.limits()
    candidates = [n for n in _divisors(product) if low <= n <= high]
    return [n for n in candidates if type(near := rule.scale.nearest(n)) is int and near == n]


def _divisors(product: int) -> list[int]:
    size = abs(product)
    small = [n for n in range(1, math.isqrt(size) + 1) if size % n == 0]
    positive = sorted({*small, *(size // n for n in small)})
    return [*(-n for n in reversed(positive)), *positive]


def _coordinate(rule: Rule, value: Value) -> float:
    return rule.scale.encode(value) if isinstance(rule, Searched) else 0.5
