from __future__ import annotations

from hashlib import sha256

from hypothesis import given, settings
from hypothesis import strategies as st

from serviceopt_journal.chain import GENESIS, link

bodies = st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=6)


def chained(stored: list[bytes]) -> list[bytes]:
    hashes, previous = [], GENESIS.hash
    for body in stored:
        previous = link(previous, body)
        hashes.append(previous)
    return hashes


def holds(stored: list[bytes], hashes: list[bytes]) -> bool:
    previous = [GENESIS.hash, *hashes]
    return all(link(before, body) == after for before, body, after in zip(previous, stored, hashes, strict=False))


def test_the_first_link_hangs_on_32_zero_bytes() -> None:
    assert link(GENESIS.hash, b"{}") == sha256(bytes(32) + b"{}").digest()


@settings(deadline=None, max_examples=100)
@given(bodies, st.data())
def test_any_single_change_of_a_body_or_a_hash_is_detected(stored: list[bytes], data: st.DataObject) -> None:
    hashes = chained(stored)
    assert holds(stored, hashes)
    number = data.draw(st.integers(0, len(stored) - 1))
    victim = data.draw(st.sampled_from([stored, hashes]))
    position = data.draw(st.integers(0, len(victim[number]) - 1))
    changed = bytearray(victim[number])
    changed[position] ^= data.draw(st.integers(1, 255))
    victim[number] = bytes(changed)
    assert not holds(stored, hashes)


@settings(deadline=None, max_examples=100)
@given(bodies, st.data())
def test_a_missing_or_moved_event_is_detected(stored: list[bytes], data: st.DataObject) -> None:
    stored = [body + str(number).encode() for number, body in enumerate(stored)] + [b"last"]
    hashes = chained(stored)
    number = data.draw(st.integers(0, len(stored) - 2))
    without = [body for index, body in enumerate(stored) if index != number]
    assert not holds(without, [one for index, one in enumerate(hashes) if index != number])
    stored[number], stored[number + 1] = stored[number + 1], stored[number]
    assert not holds(stored, hashes)
