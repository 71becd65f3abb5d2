"""Makes the rules that decide values from the configured fields, with everything that is wrong with them at once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from serviceopt_journal.errors import InvalidConfiguration
from serviceoptd.domain.settings import Field
from serviceoptd.domain.space.derived import Fixed, Ratio, Rule, Scaled, Searched, limits, targets
from serviceoptd.domain.space.divisors import DividingPairs, dividing_pairs
from serviceoptd.domain.space.field_rules import LARGEST, WrongKey, check_value, rule_of
from serviceoptd.domain.space.scales import Choices

LARGEST_RESULT = 1e15
"""Of a derived field."""

NOT_THERE = "which does not exist"
"""The end of what is said of a field that another one names."""


@dataclass(frozen=True)
class SpaceProblem:
    """One thing that is wrong with one field. `key`: the field's key that must be changed.

    `index` is the field's place among all, where it is known: two fields may have one name, which is a problem of its own.
    """

    field_name: str
    key: str
    message: str
    index: int | None = None

    def __str__(self) -> str:
        return f"target field {self.field_name!r}, {self.key}: {self.message}"


class InvalidSpace(InvalidConfiguration):
    """The target fields do not make a search space. `problems` lists all that is wrong with them."""

    def __init__(self, problems: Sequence[SpaceProblem]) -> None:
        lines = "; ".join(str(problem) for problem in problems)
        super().__init__(
            f"the search space is not valid: {lines}", hint="correct these keys of the [[...target_field]] tables"
        )
        self.problems = tuple(problems)


@dataclass(frozen=True)
class Reading:
    """What the fields say."""

    rules: Mapping[str, Rule]
    order: tuple[str, ...]  # the fields that depend on others, each after those it depends on
    pairs: tuple[DividingPairs, ...]


def read(fields: Sequence[Field]) -> Reading:
    """The rules of the fields.

    Raises:
        InvalidSpace: with every problem of every field.
    """
    problems: list[SpaceProblem] = []
    rules: dict[str, Rule] = {}
    for index, field in enumerate(fields):
        if field.name in rules:
            message = "is used by another target field; names must differ"
            problems.append(SpaceProblem(field.name, "name", message, index))
        wrong_bounds = [SpaceProblem(field.name, key, message, index) for key, message in _bounds_problems(field)]
        problems += wrong_bounds
        # With bounds that cannot be meant, the other keys are read as if these were right.
        readable = msgspec.structs.replace(field, min=0.0, max=1.0) if wrong_bounds else field
        rules[field.name] = Fixed(0)
        try:
            rules[field.name] = rule_of(readable)
            check_value(field, rules[field.name])
        except WrongKey as wrong:
            problems.append(SpaceProblem(field.name, wrong.key, str(wrong), index))
    names = {field.name for field in fields}
    for name, rule in rules.items():
        problems += [
            SpaceProblem(name, "dtype_param", f"names the field {target!r}, {NOT_THERE}")
            for target in targets(rule)
            if target not in names
        ]
    order, cyclic = _order(rules)
    problems += [
        SpaceProblem(name, "dtype_param", "depends on itself: " + " -> ".join(cycle)) for name, cycle in cyclic
    ]
    if problems:
        raise InvalidSpace(problems)
    incomputable: set[str] = set()
    for name in order:
        # What depends on an incomputable field is not judged: its own limits are not known.
        found = [] if incomputable & set(targets(rules[name])) else list(_dependence(name, rules))
        problems += [SpaceProblem(name, "dtype_param", message) for message in found]
        if found or incomputable & set(targets(rules[name])):
            incomputable.add(name)
    if problems:
        raise InvalidSpace(problems)
    return Reading(rules, order, _pairs(rules))


def _bounds_problems(field: Field) -> Iterator[tuple[str, str]]:
    """Keys and what is wrong with them."""
    if field.dtype in ("enum", "bool", "str"):
        return
    for key, bound in (("min", field.min), ("max", field.max)):
        if not math.isfinite(bound) or abs(bound) > LARGEST:
            yield key, (f"is {bound}; a finite number of at most {LARGEST:g} is allowed")
    if field.min > field.max:
        yield "min", f"{field.min:g} is greater than max, {field.max:g}"


def _order(rules: Mapping[str, Rule]) -> tuple[tuple[str, ...], list[tuple[str, list[str]]]]:
    """The dependent fields, each after its targets, and those on a cycle with the cycle."""
    done: dict[str, None] = {name: None for name, rule in rules.items() if not targets(rule)}
    independent = len(done)
    waiting = [name for name in rules if name not in done]
    while ready := [n for n in waiting if all(t in done or t not in rules for t in targets(rules[n]))]:
        done.update(dict.fromkeys(ready))
        waiting = [name for name in waiting if name not in done]
    cyclic = [(name, cycle) for name in waiting if (cycle := _cycle(name, rules))]
    return tuple(done)[independent:], cyclic


def _cycle(start: str, rules: Mapping[str, Rule]) -> list[str]:
    """The path from `start` through targets back to itself; empty where there is none."""
    paths, seen = [[start]], {start}
    while paths:
        path = paths.pop(0)
        for target in targets(rules[path[-1]]) if path[-1] in rules else ():
            if target == start:
                return [*path, start]
            if target not in seen:
                seen.add(target)
                paths.append([*path, target])
    return []


def _dependence(name: str, rules: Mapping[str, Rule]) -> Iterator[str]:
    """What cannot be computed although every name is right."""
    rule = rules[name]
    if texts := [target for target in targets(rule) if not _is_numeric(target, rules)]:
        yield f"{', '.join(texts)} is not a number"
        return
    spans = {target: limits(rules, target) for target in targets(rule)}
    for target, (low, high) in spans.items():
        if isinstance(rule, Ratio) and low < 0:
            yield f"{target} can be negative ({low:g}); a ratio needs a field of 0 or more"
        if isinstance(rule, Scaled) and rule.divide and low <= 0 <= high:
            yield f"{target} can be 0 (its values go from {low:g} to {high:g}), and nothing divides by 0"
            return
    if isinstance(rule, Scaled) and rule.exact:
        yield from _exactness(name, rule, rules)
    if max(map(abs, limits(rules, name))) > LARGEST_RESULT:
        yield f"its values go beyond {LARGEST_RESULT:g}"


def _exactness(name: str, rule: Scaled, rules: Mapping[str, Rule]) -> Iterator[str]:
    movable = [isinstance(rules[target], Searched | Fixed) for target in rule.targets]
    if not all(movable):
        yield "a ternary_factories of dtype int needs two searched or fixed fields, so that they can be repaired"
        return
    for other, competing in rules.items():
        rival = other != name and isinstance(competing, Scaled) and competing.exact
        if rival and (shared := set(rule.targets) & set(targets(competing))):
            yield f"{', '.join(sorted(shared))} is a target of {other} too, and cannot be repaired for both"
            return
    if not dividing_pairs(rule, rules).pairs:
        yield f"no pair of {' and '.join(rule.targets)} within their bounds divides {rule.product}"


def _is_numeric(name: str, rules: Mapping[str, Rule]) -> bool:
    match rules[name]:
        case Fixed(value=value):
            return not isinstance(value, str | bool)
        case Searched(scale=Choices(options=options)):
            return not any(isinstance(option, str | bool) for option in options)
    return True


def _pairs(rules: Mapping[str, Rule]) -> tuple[DividingPairs, ...]:
    return tuple(dividing_pairs(rule, rules) for rule in rules.values() if isinstance(rule, Scaled) and rule.exact)
