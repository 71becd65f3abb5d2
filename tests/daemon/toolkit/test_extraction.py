from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serviceoptd.toolkit.extraction import UNITS, Kind, at, json_in, parse_path, quantity, unit_factor
from serviceoptd.toolkit.interface import UnusableResult

KEYS = st.text(
    st.characters(codec="ascii", categories=["L", "N", "P"], exclude_characters='"[]'), min_size=1, max_size=6
)
DOCUMENTS = st.recursive(
    st.integers(),
    lambda inner: st.lists(inner, min_size=1, max_size=3) | st.dictionaries(KEYS, inner, min_size=1, max_size=3),
)


def leaves(document: Any, path: str = "$") -> list[tuple[str, int]]:
    if isinstance(document, dict):
        return [leaf for key, value in document.items() for leaf in leaves(value, f'{path}["{key}"]')]
    if isinstance(document, list):
        return [leaf for index, value in enumerate(document) for leaf in leaves(value, f"{path}[{index}]")]
    return [(path, document)]


@given(DOCUMENTS)
def test_every_leaf_of_a_document_is_found_by_its_path(document: Any) -> None:
    for path, value in leaves(document):
        if path != "$":
            assert at(document, path) == value


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("a", ("a",)),
        ("$.a.0.b", ("a", "0", "b")),
        ("a[-1].b", ("a", -1, "b")),
        ('a."p99.9"', ("a", "p99.9")),
        ('$["a b"]', ("a b",)),
    ],
)
def test_paths_are_written_in_the_usual_ways(path: str, steps: tuple[str | int, ...]) -> None:
    assert parse_path(path) == steps


@pytest.mark.parametrize("path", ["", "$", "a..b", "a[", "a[x]", 'a["x]', "a."])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError):
        parse_path(path)


@pytest.mark.parametrize("path", ["b", "a.2", "a.x", "a.0.x", "a[-3]"])
def test_a_path_into_nothing_is_told(path: str) -> None:
    with pytest.raises(UnusableResult, match="nothing at"):
        at({"a": [1, 2]}, path)


@given(st.floats(0, 1e12), st.sampled_from(sorted(UNITS)), st.data())
def test_a_number_means_the_same_beside_its_unit_and_with_the_unit_configured(
    number: float, kind: Kind, data: st.DataObject
) -> None:
    unit = data.draw(st.sampled_from([unit for unit in UNITS[kind] if unit] or [""]))
    configured = quantity(number, unit, kind, "x")
    assert math.isclose(configured, number * unit_factor(unit, kind))
    if unit:
        assert math.isclose(quantity(f"{number!r} {unit}", "text", kind, "x"), configured)


@pytest.mark.parametrize("value", [None, True, "", "fast", "1 2", [1], {}, "-3", "nan", float("inf"), -0.1, 10**400])
def test_what_is_no_amount_is_refused(value: Any) -> None:
    with pytest.raises(UnusableResult):
        quantity(value, "s", "time", "x")


def test_the_last_object_among_other_lines_is_the_result() -> None:
    assert json_in('log\n{"a": 1}\n{"a": 2}\n{"broken\nbye') == {"a": 2}
    assert json_in("[1]") == [1]
    with pytest.raises(UnusableResult, match="not valid JSON"):
        json_in("log\n{")


@given(st.dictionaries(KEYS, st.integers()))
def test_any_document_by_itself_is_its_own_result(document: dict[str, int]) -> None:
    assert json_in(json.dumps(document, indent=1)) == document
