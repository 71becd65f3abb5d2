"""One configured field: the rule that decides its value, or what is wrong with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, get_args

from serviceopt_journal.events import Value
from serviceoptd.domain.settings import Dtype, Field
from serviceoptd.domain.space.derived import Bounds, Fixed, Ratio, Rule, Scaled, Searched, Share
from serviceoptd.domain.space.scales import Choices, Continuous, Grid, Number, number

LARGEST = 1e12
"""No bound, product or number of steps beyond this: floats then still tell neighbouring whole numbers apart."""

LARGEST_EXACT_PRODUCT = 10**9
"""Of a `ternary_factories` of whole numbers: its divisors are listed."""

REQUIRED = {
    "factories": ("target_name", "product", "dtype"),
    "times": ("target_name", "product", "dtype"),
    "ternary_factories": ("target_names", "product", "dtype"),
    "ternary_times": ("target_names", "product", "dtype"),
}
OPTIONAL = {"ternary_factories": ("min_value", "max_value", "priority_policy", "priority")}
PRIORITY_POLICIES = ("balanced", "fixed")
"""Of the successor: which of the two factors a repair keeps. Here both may move, to the nearest pair that divides."""


class WrongKey(Exception):
    """What is wrong with the key of a field."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


def rule_of(field: Field) -> Rule:
    """The rule that decides the field's value; its min does not exceed its max, and both are finite.

    Raises:
        WrongKey: with the key that must be changed, and what is allowed there.
    """
    if field.dtype not in get_args(Dtype):
        raise WrongKey("dtype", f"{field.dtype!r} is unknown; allowed: {', '.join(get_args(Dtype))}")
    if field.constant is not None:
        return Fixed(_constant(field), *_shown_bounds(field))
    if field.dtype in ("enum", "bool", "str"):
        return _listed(field)
    if field.dtype in REQUIRED:
        return _scaled(field)
    if field.dtype in ("ratio", "share"):
        return _following(field)
    return _numeric(field)


def _constant(field: Field) -> Value:
    constant, amount = field.constant, number(field.constant)
    assert constant is not None  # noqa: S101 - the caller asked
    match field.dtype:
        case "str" if isinstance(constant, str):
            return constant
        case "bool" if isinstance(constant, bool) or constant in (0, 1):
            return bool(constant)
        case "enum" if not field.dtype_param or constant in _list(field):
            return constant
        case "str" | "bool" | "enum":
            raise WrongKey("constant", f"{constant!r} is not a value of dtype {field.dtype}")
    if amount is None or isinstance(constant, bool | str) or not math.isfinite(amount):
        raise WrongKey("constant", f"{constant!r} is not a number, as dtype {field.dtype} needs")
    needs_int = field.dtype in ("int", "ratio") or (
        isinstance(field.dtype_param, dict) and field.dtype_param.get("dtype") == "int"
    )
    if needs_int and amount != int(amount):
        raise WrongKey("constant", f"{constant!r} is not a whole number, as dtype {field.dtype} needs")
    return float(amount) if field.dtype == "float" or amount != int(amount) else int(amount)


def _shown_bounds(field: Field) -> tuple[Number | None, Number | None]:
    if field.dtype in ("ratio", "enum", "bool", "str") or field.min == field.max:
        return None, None
    if field.dtype == "int":
        return math.ceil(field.min), math.floor(field.max)
    whole_numbers = field.dtype != "float" and field.min == int(field.min) and field.max == int(field.max)
    return (int(field.min), int(field.max)) if whole_numbers else (field.min, field.max)


def _list(field: Field) -> list[Value]:
    options = field.dtype_param
    if not isinstance(options, list | tuple) or not options:
        raise WrongKey("dtype_param", f"dtype {field.dtype} needs a list of at least one value")
    if not all(isinstance(option, int | float | str) for option in options):
        raise WrongKey("dtype_param", "may list numbers, texts and true or false only")
    return list(options)


def _listed(field: Field) -> Rule:
    if field.dtype == "bool":
        # Bounds that are not given are both 0, so only 1 and 1 fix a bool; `constant = false` fixes it too.
        return Fixed(True) if field.min == field.max == 1 else Searched(Choices((False, True)))
    if field.dtype == "str" and field.dtype_param in (None, ""):
        if not isinstance(field.value, str):
            raise WrongKey("value", "dtype str needs `value` or `constant`, or a list of texts as dtype_param")
        return Fixed(field.value)
    if field.dtype == "str":
        return _choice([str(option) for option in _list(field)])
    return _choice(_list(field))


def _choice(options: list[Value]) -> Rule:
    # Told apart as an engine would: 1 and true are two values, 1 and 1 are one.
    distinct = tuple({(type(option), option): option for option in options}.values())
    return Searched(Choices(distinct)) if len(distinct) > 1 else Fixed(distinct[0])


def _numeric(field: Field) -> Rule:
    if field.dtype == "float":
        low, high = float(field.min), float(field.max)
        return Fixed(low) if low == high else Searched(Continuous(low, high))
    if field.dtype == "range":
        step = number(field.dtype_param)
        if step is None or isinstance(field.dtype_param, bool) or not 0 < step < math.inf:
            raise WrongKey("dtype_param", f"is {field.dtype_param!r}; dtype range needs a step greater than 0")
        if (field.max - field.min) / step > LARGEST:
            raise WrongKey("dtype_param", f"{step:g} makes too many steps from min to max (at most {LARGEST:g})")
        grid = Grid.between(field.min, field.max, step)
    else:
        low, high = math.ceil(field.min), math.floor(field.max)
        if low > high:
            raise WrongKey("min", f"no whole number lies between min, {field.min:g}, and max, {field.max:g}")
        grid = Grid.between(low, high, 1)
    return Searched(grid) if grid.count > 1 else Fixed(next(grid.values()), *_shown_bounds(field))


def _own_bounds(field: Field) -> Bounds:
    # Equal bounds other than 0 and 0, which is what absent ones are, fix a derived field too.
    return Bounds(field.min, field.max) if field.min < field.max or field.min == field.max != 0 else Bounds()


def _following(field: Field) -> Rule:
    if not isinstance(field.dtype_param, str) or not field.dtype_param:
        raise WrongKey("dtype_param", f"dtype {field.dtype} needs the name of another target field")
    if field.dtype == "share":
        return Share(field.dtype_param, _own_bounds(field))
    if not 0 <= field.min <= 1 or not 0 <= field.max <= 1:
        wrong = "min" if not 0 <= field.min <= 1 else "max"
        raise WrongKey(wrong, "of a ratio must lie in 0..1; dtype times multiplies by more")
    if field.max == 0:
        raise WrongKey("max", "of a ratio must be greater than 0")
    return Ratio(field.dtype_param, float(field.min), float(field.max))


def _scaled(field: Field) -> Rule:
    table = field.dtype_param
    required, optional = REQUIRED[field.dtype], OPTIONAL.get(field.dtype, ())
    allowed = ", ".join((*required, *optional))
    if not isinstance(table, dict):
        raise WrongKey("dtype_param", f"dtype {field.dtype} needs a table with {allowed}")
    if missing := [key for key in required if key not in table]:
        raise WrongKey("dtype_param", f"lacks {', '.join(missing)}")
    if unknown := [str(key) for key in table if key not in (*required, *optional)]:
        raise WrongKey("dtype_param", f"has the unknown keys {', '.join(unknown)}; allowed: {allowed}")
    if table["dtype"] not in ("int", "float"):
        raise WrongKey("dtype_param", f"dtype is {table['dtype']!r}; allowed: int, float")
    integral, divide = table["dtype"] == "int", field.dtype in ("factories", "ternary_factories")
    product = _number_in(table, "product")
    bounds = _bounds_of(field, table)
    if integral and not bounds.whole_numbers():
        raise WrongKey("min", "no whole number lies between the bounds")
    exact = integral and field.dtype == "ternary_factories"
    if exact and (product == 0 or product != int(product) or abs(product) > LARGEST_EXACT_PRODUCT):
        raise WrongKey("dtype_param", f"product must be a whole number of 1 to {LARGEST_EXACT_PRODUCT} for dtype int")
    names = _target_names(table, ternary="target_names" in required)
    _check_priority(table, names)
    return Scaled(names, int(product) if product == int(product) else product, divide, integral, bounds, exact)


def _check_priority(table: Mapping[str, Any], names: tuple[str, ...]) -> None:
    policy, priority = table.get("priority_policy", PRIORITY_POLICIES[0]), table.get("priority", list(names))
    if policy not in PRIORITY_POLICIES:
        allowed = ", ".join(PRIORITY_POLICIES)
        raise WrongKey("dtype_param", f"priority_policy is {policy!r}; allowed: {allowed}")
    if not isinstance(priority, list | tuple) or sorted(map(str, priority)) != sorted(names):
        raise WrongKey("dtype_param", f"priority must list {' and '.join(names)}, in the order in which they are kept")


def _target_names(table: Mapping[str, Any], *, ternary: bool) -> tuple[str, ...]:
    if not ternary:
        if not isinstance(table["target_name"], str) or not table["target_name"]:
            raise WrongKey("dtype_param", "target_name must be the name of another target field")
        return (table["target_name"],)
    names = table["target_names"]
    if not isinstance(names, list | tuple) or len(set(map(str, names))) != 2 or len(names) != 2:
        raise WrongKey("dtype_param", "target_names must list two different target fields")
    return tuple(str(name) for name in names)


def _bounds_of(field: Field, table: Mapping[str, Any]) -> Bounds:
    own = _own_bounds(field)
    low, high = own.low, own.high
    if "min_value" in table:
        low = max(_number_in(table, "min_value"), -math.inf if low is None else low)
    if "max_value" in table:
        high = min(_number_in(table, "max_value"), math.inf if high is None else high)
    if low is not None and high is not None and low > high:
        raise WrongKey("dtype_param", f"min_value and max_value leave nothing: {low:g} is greater than {high:g}")
    return Bounds(low, high)


def _number_in(table: Mapping[str, Any], key: str) -> float:
    amount = table[key]
    if not isinstance(amount, int | float) or isinstance(amount, bool) or not abs(amount) <= LARGEST:
        raise WrongKey("dtype_param", f"{key} is {amount!r}; a finite number of at most {LARGEST:g} is allowed")
    return float(amount)


def check_value(field: Field, rule: Rule) -> None:
    """The current setting must be of the field's kind; outside of the bounds it counts as the nearest bound.

    Raises:
        WrongKey: naming `value`.
    """
    if field.value is None or isinstance(rule, Fixed):
        return
    if isinstance(rule, Searched) and isinstance(rule.scale, Choices):
        if rule.scale.nearest(field.value) is None:
            raise WrongKey("value", f"{field.value!r} is not one of {list(rule.scale.options)!r}")
    elif number(field.value) is None or isinstance(field.value, bool):
        raise WrongKey("value", f"{field.value!r} is not a number, as dtype {field.dtype} needs")
