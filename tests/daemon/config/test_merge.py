from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from serviceoptd.config.merge import merged

SCALARS = st.one_of(st.integers(), st.booleans(), st.text(max_size=3), st.lists(st.integers(), max_size=2))
KEYS = st.sampled_from(["a", "b", "c"])
TABLES = st.recursive(
    st.dictionaries(KEYS, SCALARS, max_size=3), lambda inner: st.dictionaries(KEYS, inner | SCALARS), max_leaves=8
)


@given(TABLES)
def test_nothing_given_leaves_the_defaults(table: dict[str, Any]) -> None:
    assert merged(table, {}) == table == merged({}, table)


@given(TABLES, TABLES)
def test_what_was_given_wins_and_the_other_defaults_stay(defaults: dict[str, Any], given_table: dict[str, Any]) -> None:
    result = merged(defaults, given_table)
    assert result.keys() == defaults.keys() | given_table.keys()
    for key, value in result.items():
        before, given_value = defaults.get(key), given_table.get(key)
        if key not in given_table:
            assert value == before
        elif isinstance(before, dict) and isinstance(given_value, dict):
            assert value == merged(before, given_value)
        else:
            assert value == given_value
    assert merged(result, given_table) == result


def test_a_change_of_the_result_does_not_reach_the_defaults() -> None:
    defaults = {"table": {"list": [{"x": 1}]}}
    merged(defaults, {})["table"]["list"][0]["x"] = 2
    assert defaults == {"table": {"list": [{"x": 1}]}}
