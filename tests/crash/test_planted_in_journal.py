"""Each promise of the journal has a bug that breaks it, and a test that catches the bug."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from crash.planted_in_journal import PACKAGE, PLANTED, Edit, Planted, tried

GUARANTEES = Path(__file__).parents[2] / "docs/guarantees.md"
FIRST = {planted.promise: planted for planted in reversed(PLANTED)}


@pytest.mark.parametrize("planted", FIRST.values(), ids=lambda planted: f"{planted.promise} {planted.name}")
def test_a_bug_that_breaks_a_promise_is_caught(
    planted: Planted, record_property: Callable[[str, object], None]
) -> None:
    """One for each promise; all of them: `make chaos`."""
    outcome = tried(planted)
    if outcome.skipped:
        pytest.skip("what would catch it needs what is not here")
    assert outcome.caught_by, outcome.output
    record_property("counted", f"caught by {outcome.caught_by}")


def test_every_promise_of_the_journal_has_a_bug_that_breaks_it() -> None:
    numbered = re.findall(r"^## (\d+)\. ", GUARANTEES.read_text(), re.MULTILINE)
    assert {planted.promise for planted in PLANTED} == {int(number) for number in numbered} == set(range(1, 11))


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name)
def test_what_a_bug_replaces_stands_in_the_code_once(planted: Planted) -> None:
    for module, old, new in planted.edits:
        assert (PACKAGE / f"{module}.py").read_text().count(old) == 1
        assert old != new


def test_a_change_that_breaks_nothing_is_not_said_to_be_caught() -> None:
    edit = Edit("chain", "HASH_BYTES = 32", "HASH_BYTES = 2 * 16")
    harmless = Planted(
        "nothing", 3, (edit,), ("tests/journal/test_chain.py::test_the_first_link_hangs_on_32_zero_bytes",)
    )
    assert tried(harmless).caught_by is None
