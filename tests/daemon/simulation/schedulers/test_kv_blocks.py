from __future__ import annotations

import pytest

from serviceoptd.simulation.schedulers.kv_blocks import NOTHING, KvBlocks


def a_pool_after_a_preemption(own: int = 4) -> KvBlocks:
    """10 blocks; request 1 had `own` full ones and one more, and was preempted."""
    pool = KvBlocks(10)
    pool.take(own + 1)
    pool.give_back(1, 1, own, [])
    return pool


def test_a_preempted_request_finds_its_own_blocks_again() -> None:
    pool = a_pool_after_a_preemption()
    found = pool.find(1, prefix=0, shared=0, most=9)
    assert (found.own, found.free, pool.free) == (4, 4, 10)
    pool.claim(1, found)
    assert pool.free == 6
    assert pool.find(1, prefix=0, shared=0, most=9) == NOTHING
    assert pool.find(2, prefix=0, shared=0, most=9) == NOTHING


def test_blocks_without_content_are_given_out_first_then_the_end_of_what_was_used_least_recently() -> None:
    pool = a_pool_after_a_preemption()
    pool.take(6)
    assert pool.find(1, prefix=0, shared=0, most=9).own == 4
    pool.take(3)
    assert pool.find(1, prefix=0, shared=0, most=9).own == 1, "its last blocks went first"


def test_a_shared_prefix_lives_while_somebody_holds_it_and_until_its_blocks_are_needed() -> None:
    pool = KvBlocks(4)
    pool.take(2)
    held = [pool.share(7, 0), pool.share(7, 1)]
    found = pool.find(2, prefix=7, shared=2, most=9)
    assert (found.shared, found.free) == (tuple(held), 0)
    pool.claim(2, found)
    pool.give_back(1, 0, 0, held)
    assert pool.free == 2, "the second request holds them still"
    pool.give_back(2, 0, 0, held)
    assert pool.free == 4
    pool.take(3)
    assert pool.find(3, prefix=7, shared=2, most=9).shared == (held[0],), "the end of the prefix went first"
    assert pool.find(3, prefix=8, shared=2, most=9) == NOTHING


@pytest.mark.parametrize("most", [0, 1, 3])
def test_the_last_token_is_never_found(most: int) -> None:
    assert a_pool_after_a_preemption().find(1, prefix=0, shared=0, most=most).own == most
