"""Numbers out of JSON documents and lines of text, with their units. Pure."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Mapping
from typing import Any, Literal

from serviceopt_journal.foreign_text import json_value
from serviceopt_journal.metric_table import ALL_LATENCIES, METRICS, PREEMPTIONS, TTFT, Unit
from serviceoptd.toolkit.interface import UnusableResult

Kind = Literal["time", "tokens/s", "requests/s", "ratio", "count"]
Step = str | int

_KIND_OF_UNIT: dict[Unit, Kind] = {
    "output tokens/s": "tokens/s",
    "requests/s": "requests/s",
    "0..1": "ratio",
    "s": "time",
}
KINDS: dict[str, Kind] = {metric.key: _KIND_OF_UNIT.get(metric.unit, "count") for metric in METRICS}
METRIC_NAME = re.compile(
    "|".join(key for key in (*KINDS, "num_prompts") if key not in (*ALL_LATENCIES, PREEMPTIONS))
    + rf"|({'|'.join(ALL_LATENCIES)})\.(mean|median|min|max|p\d{{1,2}}(\.\d+)?)"
)

UNITS: dict[Kind, dict[str, float]] = {
    "time": {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9, "min": 60.0},
    "tokens/s": {
        "tok/s": 1.0, "token/s": 1.0, "tokens/s": 1.0, "ktok/s": 1e3, "tok/min": 1 / 60, "tokens/min": 1 / 60,
    },
    "requests/s": {
        "req/s": 1.0, "request/s": 1.0, "requests/s": 1.0, "req/min": 1 / 60, "requests/min": 1 / 60,
    },
    "ratio": {"": 1.0, "%": 0.01},
    "count": {"": 1.0},
}  # fmt: skip
IN_TEXT = "text"
"""The unit that stands beside the number in the result itself, as in "12.3 ms"."""

_STEP = re.compile(r'\.?(?:"(?P<quoted>[^"]+)"|\["(?P<key>[^"]+)"\]|\[(?P<index>-?\d+)\]|(?P<plain>[^.\[\]"]+))')
_QUANTITY = re.compile(
    r"\s*(?P<number>[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?i:nan|inf|infinity))\s*(?P<unit>[^\s\d]\S*)?\s*"
)


def kind_of(metric: str) -> Kind:
    """What kind of number a metric is."""
    return KINDS.get(metric.partition(".")[0], "count")


def unit_factor(unit: str, kind: Kind) -> float:
    """What a value in this unit is multiplied by to be in the project's; 1 for `IN_TEXT`.

    Raises:
        ValueError: no such unit of this kind. A time always needs one: seconds and milliseconds are confused too easily.
    """
    if unit == IN_TEXT:
        return 1.0
    if unit not in UNITS[kind]:
        allowed = ", ".join(repr(name) for name in (*UNITS[kind], IN_TEXT))
        raise ValueError(f"unit {unit!r} is not a unit of {kind}: {allowed}")
    return UNITS[kind][unit]


def parse_path(path: str) -> tuple[Step, ...]:
    """The steps of `results.0.ttft`, `$.a["x.y"][-1]` or `a."p99.9"`.

    Raises:
        ValueError: it is not such a path.
    """
    rest = path.removeprefix("$")
    steps: list[Step] = []
    position = 0
    while position < len(rest):
        match = _STEP.match(rest, position)
        if match is None:
            raise ValueError(f"{path!r} is not a path into JSON, such as results.0.{TTFT}.mean")
        position = match.end()
        index, plain = match["index"], match["plain"]
        steps.append(int(index) if index is not None else plain or match["quoted"] or match["key"])
    if not steps:
        raise ValueError(f"{path!r} names no value")
    return tuple(steps)


def at(document: Any, path: str) -> Any:
    """The value at a path; a step of digits is an index where there is a list.

    Raises:
        UnusableResult: there is nothing.
    """
    value = document
    for step in parse_path(path):
        try:
            value = value[int(step)] if isinstance(value, list) else dict(value)[str(step)]
        except (KeyError, IndexError, ValueError, TypeError):
            raise UnusableResult(f"the result has nothing at {path} (no {step!r})") from None
    return value


def found_in(text: str, pattern: str) -> str:
    """The group of the last match: a client prints its summary at the end.

    Raises:
        UnusableResult: no match.
    """
    matches = deque(re.finditer(pattern, text, re.MULTILINE), 1)
    if not matches or matches[0][1] is None:
        raise UnusableResult(f"nothing in the output matches {pattern}")
    return str(matches[0][1])


def quantity(value: Any, unit: str, kind: Kind, name: str) -> float:
    """The value in the project's unit: seconds, tokens/s, requests/s, 0..1, or a count.

    Raises:
        UnusableResult: it is not a number, not finite, negative, or its own unit is unknown.
    """
    if isinstance(value, str) and (match := _QUANTITY.fullmatch(value)):
        number, own = float(match["number"].replace(",", "")), match["unit"] or ""
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number, own = _as_float(value), ""
    else:
        raise UnusableResult(f"{name} is {value!r}, not a number")
    # a unit beside the number is more to be trusted than the configuration, unless it is none of ours
    given = own if own in UNITS[kind] and own else unit
    if given == IN_TEXT:
        raise UnusableResult(f"{name} is {value!r}, with no unit of a {kind} in it")
    result = number * unit_factor(given, kind)
    if not math.isfinite(result) or result < 0:
        raise UnusableResult(f"{name} is {value}")
    return result


def json_in(text: str) -> Any:
    """The JSON in a text: all of it, or its last line that is an object, since clients print other things too.

    Raises:
        UnusableResult: none.
    """
    try:
        return json_value(text)
    except ValueError as error:
        for line in reversed(text.splitlines()):
            if line.strip().startswith("{"):
                try:
                    return json_value(line)
                except ValueError:
                    continue
        raise UnusableResult(f"the result ({len(text)} characters) is not valid JSON: {error}") from error


def flattened(table: Any) -> Any:
    """`ttft.mean = {...}` in TOML makes tables in tables; the metrics are one table with dotted names."""
    if not isinstance(table, Mapping):
        return table
    flat: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, Mapping) and value and all(isinstance(inner, Mapping) for inner in value.values()):
            flat |= {f"{name}.{inner}": source for inner, source in value.items()}
        else:
            flat[str(name)] = value
    return flat


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf
