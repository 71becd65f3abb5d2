"""A bit of the journal's files flips: it is found, or changes nothing that is read."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from crash.flipping_bits import FILES, Subject, became, share_of, subjects

EVERY = 211
"""A share of the flips; all of them: `make chaos`."""


@cache
def subject(name: str) -> Subject:
    return next(each for each in subjects() if each.name == name)


def test_every_flip_is_found_or_changes_nothing_that_is_read(record_property: Callable[[str, object], None]) -> None:
    counts = share_of(0, 1, first=0, every=EVERY)
    record_property(
        "counted",
        f"{counts['flips']} bits flipped: {counts['found']} found, {counts['told']} told and repaired, "
        f"{counts['unread']} not read, {counts['broken']} broken",
    )
    assert counts["broken"] == 0, "python tests/crash/flipping_bits.py shows them"
    assert counts["flips"] > 500
    assert counts["found"] > 300
    assert counts["told"] > 5
    assert {name for name in FILES if any(f"killed, {name}: " in kind for kind in counts)} == set(FILES)


READ_BY_SQLITE_ALONE = {
    "the version that may write": range(18, 19),
    "the list of free pages": range(32, 40),
    "whether the file is vacuumed": range(52, 56),
}


@pytest.mark.parametrize("field", READ_BY_SQLITE_ALONE)
@pytest.mark.parametrize("name", ["at rest", "killed, pages in use"])
def test_what_sqlites_check_passes_over_is_found_before_a_commit_meets_it(
    tmp_path: Path, name: str, field: str
) -> None:
    """Fields of the header; where there are views, some releases check a part only."""
    for byte in READ_BY_SQLITE_ALONE[field]:
        assert became(subject(name), "journal.db", byte, 3, tmp_path) == "found: JournalDamaged"


def test_a_table_that_no_longer_numbers_its_rows_is_damage_and_no_internal_error(tmp_path: Path) -> None:
    text = b"seq INTEGER PRIMARY KEY"
    start = subject("at rest").files["journal.db"].rindex(text)  # before it: what the page held once
    for byte in range(start, start + len(text)):
        assert became(subject("at rest"), "journal.db", byte, 7, tmp_path) == "found: JournalDamaged"


def test_a_hash_that_became_a_text_is_found_though_its_bytes_are_the_same(tmp_path: Path) -> None:
    """The type of a value stands in the byte before the first one of its row: SHA-256 is a blob of 32 bytes, 76."""
    stored = subject("at rest").files["journal.db"]
    body = stored.rindex(b'{"seq":')
    assert stored[body - 1] == 76
    assert became(subject("at rest"), "journal.db", body - 1, 0, tmp_path) == "found: JournalDamaged"


def test_a_flip_that_is_read_and_not_found_is_told_by_the_judge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The judge can find against the journal: otherwise the first of these tests could not fail."""
    from serviceopt_journal import verification

    at = subject("killed").files["journal.db-wal"].rindex(b'"run":1')
    monkeypatch.setattr(verification, "_compare_anchor", lambda *_: None)
    assert became(subject("killed"), "journal.db-wal", at, 0, tmp_path).startswith("broken: ")
