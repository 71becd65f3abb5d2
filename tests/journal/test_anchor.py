from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journal_builders import a_journal, a_run, contents, flipped, tampering
from serviceopt_journal.anchor import FILE_NAME, SLOT_DISTANCE, Anchor, read_anchor
from serviceopt_journal.chain import Head
from serviceopt_journal.errors import JournalDamaged
from serviceopt_journal.store import Journal
from serviceopt_journal.verification import verify

SLOT_BYTES = 80


def written(directory: Path, count: int) -> list[Head]:
    heads = [Head(number, bytes([number]) * 32) for number in range(count + 1)]
    anchor = Anchor.create(directory, heads[0])
    for head in heads[1:]:
        anchor.write(head)
    anchor.close()
    return heads


def as_a_kill_leaves_it(directory: Path) -> int:
    """A journal whose writer never closed it, between two commits; returns the last acknowledged event's number."""
    with Journal.open(directory / "live") as journal:
        for start in range(0, 9, 3):
            last = journal.append(*a_run(1)[start : start + 3])[-1].seq
        for file in (directory / "live").iterdir():
            shutil.copy(file, directory)
    shutil.rmtree(directory / "live")
    return last


def newest(directory: Path) -> Head | None:
    slots = read_anchor(directory)
    assert slots is not None
    return slots.newest


def test_the_anchor_says_what_was_written_last(tmp_path: Path) -> None:
    assert read_anchor(tmp_path) is None
    for count in range(5):
        heads = written(tmp_path, count)
        assert newest(tmp_path) == heads[-1]


def test_a_write_that_was_torn_leaves_the_one_before(tmp_path: Path) -> None:
    heads = written(tmp_path, 6)
    path = tmp_path / FILE_NAME
    slots = read_anchor(tmp_path)
    assert slots is not None
    start = slots.slot * SLOT_DISTANCE
    stored = path.read_bytes()
    for kept in range(SLOT_BYTES):
        path.write_bytes(stored[: start + kept] + bytes(SLOT_BYTES - kept) + stored[start + SLOT_BYTES :])
        assert newest(tmp_path) == heads[5]


@settings(deadline=None, max_examples=60)
@given(st.integers(0, SLOT_BYTES - 1), st.integers(0, 7), st.integers(0, 1))
def test_any_flipped_bit_makes_its_slot_bad(position: int, bit: int, slot: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        written(directory, 7)
        path = directory / FILE_NAME
        before = path.read_bytes()
        path.write_bytes(flipped(before, slot * SLOT_DISTANCE + position, bit))
        slots = read_anchor(directory)
        assert slots is not None
        assert slots.slot == 1 - slot
        assert slots.bad == (slot,)
        path.write_bytes(flipped(path.read_bytes(), (1 - slot) * SLOT_DISTANCE + position, bit))
        assert read_anchor(directory) == (None, 0, (0, 1))


@pytest.mark.parametrize("slot", [0, 1])
@pytest.mark.parametrize("killed", [False, True])
def test_a_bad_slot_is_told_and_written_anew(tmp_path: Path, slot: int, killed: bool) -> None:
    if killed:
        as_a_kill_leaves_it(tmp_path)
    else:
        a_journal(tmp_path)
    sound = contents(tmp_path)
    for position in range(SLOT_BYTES):
        for name, stored in sound.items():
            (tmp_path / name).write_bytes(stored)
        path = tmp_path / FILE_NAME
        path.write_bytes(flipped(sound[FILE_NAME], slot * SLOT_DISTANCE + position, position % 8))
        (warning,) = verify(tmp_path).warnings
        assert warning.startswith(f"slot {slot + 1} of the head anchor is bad")
        with Journal.open(tmp_path) as journal:
            assert journal.repaired == (warning,)
            slots = read_anchor(tmp_path)
            assert slots is not None
            assert (slots.newest, slots.bad) == (journal.head, ())
        assert verify(tmp_path).warnings == []
        with Journal.open(tmp_path) as journal:
            assert journal.repaired == ()


@pytest.mark.parametrize("slot", [0, 1])
def test_after_an_orderly_end_a_bad_slot_hides_no_lost_commit(tmp_path: Path, slot: int) -> None:
    a_journal(tmp_path)
    path = tmp_path / FILE_NAME
    path.write_bytes(flipped(path.read_bytes(), slot * SLOT_DISTANCE, 0))
    last = verify(tmp_path).head_seq
    with tampering(tmp_path) as connection:
        connection.execute("DELETE FROM event WHERE seq = ?", (last,))
    with pytest.raises(JournalDamaged, match=f"the head anchor is at event {last}, the journal ends at {last - 1}"):
        Journal.open(tmp_path)


def test_a_loss_that_a_bad_slot_may_hide_is_told(tmp_path: Path) -> None:
    """Two faults at once after a crash: the slot of the last commit, and the commit itself."""
    last = as_a_kill_leaves_it(tmp_path)
    slots = read_anchor(tmp_path)
    assert slots is not None
    path = tmp_path / FILE_NAME
    path.write_bytes(flipped(path.read_bytes(), slots.slot * SLOT_DISTANCE, 0))
    assert (
        "cannot be seen" not in verify(tmp_path).warnings[0]
    )  # the journal is ahead of the good slot: nothing is lost
    before = newest(tmp_path)
    assert before is not None
    with tampering(tmp_path) as connection:
        connection.execute("DELETE FROM event WHERE seq > ?", (before.seq,))
    assert verify(tmp_path).head_seq < last
    with Journal.open(tmp_path) as journal:
        assert "if the last commit was lost as well, that cannot be seen" in journal.repaired[0]


def test_a_reopened_anchor_overwrites_the_older_slot(tmp_path: Path) -> None:
    heads = written(tmp_path, 3)
    slots = read_anchor(tmp_path)
    assert slots is not None
    anchor = Anchor.open(tmp_path, slots)
    anchor.write(Head(4, b"4" * 32))
    anchor.close()
    path = tmp_path / FILE_NAME
    now = read_anchor(tmp_path)
    assert now is not None
    assert now.newest == Head(4, b"4" * 32)
    path.write_bytes(flipped(path.read_bytes(), now.slot * SLOT_DISTANCE, 0))
    assert newest(tmp_path) == heads[3]


def test_a_file_that_was_cut_off_is_bad_and_not_an_error(tmp_path: Path) -> None:
    written(tmp_path, 2)
    (tmp_path / FILE_NAME).write_bytes(b"")
    assert newest(tmp_path) is None
