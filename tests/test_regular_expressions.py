"""Regular expressions mean the same on every Python that is supported."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("daemon/serviceoptd", "journal/serviceopt_journal", "ctl/serviceoptctl")
_POSSESSIVE_GROUP = re.compile(r"(?<!\\)\)(?:[*+?]|\{[0-9,]+\})\+")
"""A group that is repeated and never given back: before Python 3.11.5 it misses matches (python/cpython 106052). Debian 12
has 3.11.2. `(?>(?:...)*)` says the same and is right there, too; single characters (`[^"]*+`) were always right."""


def texts(source: str) -> list[tuple[int, str]]:
    """Line and text of every literal, those in f-strings included."""
    return [
        (node.lineno, node.value)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


@pytest.mark.parametrize("pattern", ["(?:ab?c)*+", "(?:ab?c)++d", "(a|b)?+", "(?:a){2,3}+"])
def test_a_possessive_group_is_seen(pattern: str) -> None:
    assert _POSSESSIVE_GROUP.search(pattern)


@pytest.mark.parametrize("pattern", ["(?>(?:ab?c)*)", r"\)*+", '[^"]*+', "(a)+b", "(?P<name>[a-z]++)"])
def test_what_is_right_everywhere_is_not(pattern: str) -> None:
    assert not _POSSESSIVE_GROUP.search(pattern)


def test_no_group_is_possessive() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        for line, text in texts(path.read_text())
        if _POSSESSIVE_GROUP.search(text)
    ]
    assert found == [], "write it as an atomic group, (?>(?:...)*)"
