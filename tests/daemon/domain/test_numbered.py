"""A table by number behaves as a dict does, and adding to a large one costs no more than adding to a small one."""

from __future__ import annotations

import gc
import time
from itertools import chain, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.journal_workload import events
from builders import Story, a_finished_story
from serviceopt_journal.codec import Recorded
from serviceopt_journal.events import Event
from serviceoptd.domain.evolve import fold
from serviceoptd.domain.numbered import Numbered
from serviceoptd.domain.state import State

NUMBERS = st.integers(-3, 3000) | st.integers(20, 70) | st.integers(-(2**70), 2**70)


@given(st.lists(st.tuples(NUMBERS, st.integers(0, 9))))
def test_it_holds_what_a_dict_holds_and_earlier_tables_stay_as_they_were(changes: list[tuple[int, int]]) -> None:
    table, expected = Numbered[int](), dict[int, int]()
    history = [(table, dict(expected))]
    for number, value in changes:
        table, expected = table | {number: value}, expected | {number: value}
        history.append((table, expected))
    for then, plain in history:
        assert then == plain == Numbered(plain)
        assert len(then) == len(plain)
        assert sorted(then.items()) == sorted(plain.items())
        assert list(zip(then, then.values(), strict=True)) == list(then.items())
        assert list(reversed(then.values())) == list(then.values())[::-1]
        assert all(number in then for number in plain)
    assert table.get(5000) == expected.get(5000)


def test_numbers_given_out_one_after_the_other_keep_their_order() -> None:
    table = Numbered({number: -number for number in range(1, 5000)}) | {7: 0}
    assert list(table) == list(range(1, 5000))
    with pytest.raises(KeyError, match="5000"):
        table[5000]


def test_a_state_that_somebody_holds_stays_as_it_was_whatever_is_folded_after_it() -> None:
    state, held = State(), []
    for seq, event in enumerate(many_runs(40), 1):
        state = fold(state, Recorded(seq, 1, float(seq), float(seq), "boot", event))
        if seq % 25 == 0:
            held.append((state, repr(state)))
    assert len(held) > 10
    assert all(repr(then) == shown for then, shown in held)


def many_runs(count: int) -> list[Event]:
    return list(chain.from_iterable(a_finished_story(Story(run=run)) for run in range(1, count + 1)))


def one_long_run(count: int) -> list[Event]:
    return [next(a_finished_story()), *islice(events(), count * 40)]


@pytest.mark.parametrize("history", [many_runs, one_long_run])
def test_ten_times_the_history_takes_ten_times_the_time(history: object) -> None:
    def seconds(count: int) -> float:
        told = history(count)  # type: ignore[operator]
        records = [Recorded(seq, seq, float(seq), float(seq), "boot", event) for seq, event in enumerate(told, 1)]
        state, started = State(), time.process_time()
        for record in records:
            state = fold(state, record)
        taken = time.process_time() - started
        assert state.seq == len(told)
        return taken

    seconds(20)
    assert seconds(3000) < 30 * seconds(300)


def test_the_cyclic_collector_does_not_search_what_a_replay_reads_and_keeps() -> None:
    state = State()
    for seq, event in enumerate(many_runs(3), 1):
        record = Recorded(seq, seq, float(seq), float(seq), "boot", event)
        assert not gc.is_tracked(record)
        assert not gc.is_tracked(event)
        state = fold(state, record)
    kept = [state, *state.runs.values()]
    for run in state.runs.values():
        particles = list(run.particles.values())
        kept += [*particles, *run.evaluations.values(), *(metrics for p in particles for metrics in p.measurements)]
    assert len(kept) > 20
    assert not [each for each in kept if gc.is_tracked(each)]
