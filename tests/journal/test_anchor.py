from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from journal_builders import flipped
from serviceopt_journal.anchor import FILE_NAME, SLOT_DISTANCE, Anchor, read_anchor
from serviceopt_journal.chain import Head

SLOT_BYTES = 80


def written(directory: Path, count: int) -> list[Head]:
    heads = [Head(number, bytes([number]) * 32) for number in range(count + 1)]
    anchor = Anchor.create(directory, heads[0])
    for head in heads[1:]:
        anchor.write(head)
    anchor.close()
    return heads


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
        path.write_bytes(flipped(path.read_bytes(), (1 - slot) * SLOT_DISTANCE + position, bit))
        assert newest(directory) is None


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
