"""The YAML of an engine's own file of options is read within limits."""

from __future__ import annotations

import itertools

import pytest

from journal.test_foreign_files import bounded
from serviceopt_journal.foreign_files import MIB
from serviceoptd.toolkit.config_file import options_of


def a_bomb(references: int, levels: str = "abcdefghij") -> str:
    """A few lines, each of them nothing but references to the one before."""
    pairs = itertools.pairwise(levels)
    lines = [f"{name}: &{name} [{', '.join([f'*{before}'] * references)}]" for before, name in pairs]
    return "\n".join([f"{levels[0]}: &{levels[0]} [x]", *lines])


@pytest.mark.parametrize("text", [a_bomb(9), "a: &a {b: *a}", "a: &a [*a, *a]"], ids=["bomb", "loop", "two loops"])
def test_references_that_stand_for_too_much_are_refused_at_once(text: str) -> None:
    with bounded(16 * MIB, seconds=10.0), pytest.raises(ValueError, match="more than 10000 values, each reference"):
        options_of(text)


def test_references_are_what_they_stand_for() -> None:
    assert options_of("max-model-len: &n 8192\nother: *n") == ["--max-model-len=8192", "--other=8192"]
    assert options_of(a_bomb(2, "ab")) == ["--a", "x", "--b", "['x']", "['x']"]


@pytest.mark.parametrize(
    "text", ["[" * 5000, "a: " + "{b: " * 5000, "- a", "a: !!python/object:os.system {}", "a: \t- b"]
)
def test_what_is_no_table_of_options_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not YAML|not a table"):
        options_of(text)
