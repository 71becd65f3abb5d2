"""Windows between two looks at an engine's counters, against the very steps of a simulated benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine_looks import watched_benchmark
from linear_step_times import LinearStepTimes
from serviceoptd.domain.stopping.engine_windows import COLUMNS, StoredService, as_csv, windows
from serviceoptd.domain.stopping.service_counters import Counters
from serviceoptd.simulation.schedulers.vllm_limits import VllmLimits
from serviceoptd.simulation.virtual_clock.interface import Batch, Request

TIMES = LinearStepTimes(8e-3, 1e-3, 1e-4, 4e-5, 3e-10, 2e-4, 8e-8)
LIMITS = VllmLimits(max_num_seqs=8, max_num_batched_tokens=2048, max_model_len=1024, kv_blocks=2000)
SERVICE = StoredService(
    engine="vllm", version="0", configuration={"MAX_NUM_SEQS": 8}, options={}, kv_blocks=2000, concurrency=8,
    request_rate=None, num_prompts=3,
)  # fmt: skip

lengths = st.tuples(st.integers(1, 200), st.integers(2, 60))


def benchmark(pairs: Sequence[tuple[int, int]], concurrency: int = 8) -> tuple[list[Batch], list[Counters]]:
    return watched_benchmark([Request(*pair) for pair in pairs], LIMITS, TIMES, concurrency=concurrency)


@settings(max_examples=50)
@given(pairs=st.lists(lengths, min_size=10, max_size=60), every=st.integers(1, 30))
def test_a_windows_sums_are_those_of_its_steps(pairs: list[tuple[int, int]], every: int) -> None:
    batches, looks = benchmark(pairs)
    places = range(1, len(looks), every)
    for begin in places[:-1]:
        inside = batches[begin : begin + every]
        (found,) = windows([looks[begin], looks[begin + every]], looks[0], replaced=True) or [None]
        if found is None:  # the last request alone, or none: it may have been idle
            assert looks[begin + every].in_flight < 2
            continue
        assert found.seconds == pytest.approx(looks[begin + every].time - looks[begin].time, abs=1e-6)
        assert found.steps == len(inside)
        assert found.prompts == sum(batch.prefill_sequences for batch in inside)
        assert found.prompt_tokens == sum(batch.prefill_tokens for batch in inside)
        assert found.decode_tokens == sum(batch.decode_sequences for batch in inside)
        assert found.prefill_steps <= sum(batch.prefill_sequences > 0 for batch in inside)
        if every == 1:  # between two looks the context is taken to grow evenly
            assert found.decode_context == pytest.approx(inside[0].decode_context, abs=8 + 0.5 * 8 * 200)


@given(pairs=st.lists(lengths, min_size=30, max_size=60), abandoned=st.integers(0, 10_000))
def test_tokens_of_requests_that_were_once_aborted_are_no_context(pairs: list[tuple[int, int]], abandoned: int) -> None:
    _, looks = benchmark(pairs)
    shifted = [replace(look, tokens=look.tokens + abandoned) for look in looks]
    assert windows(shifted[1:], shifted[0], replaced=True) == windows(looks[1:], looks[0], replaced=True)


def test_the_context_of_a_whole_benchmark_is_known_within_a_few_percent() -> None:
    batches, looks = benchmark([(100 + 7 * (number % 13), 30 + 5 * (number % 11)) for number in range(80)])
    found = windows(looks[1::20], looks[0], replaced=True)
    inside = batches[1 : 1 + 20 * len(found)]
    assert sum(each.decode_context for each in found) == pytest.approx(sum(b.decode_context for b in inside), rel=0.03)


def test_a_window_in_which_it_may_have_been_idle_is_left_out() -> None:
    _, looks = benchmark([(50, 10)] * 40)
    pair = [looks[1], looks[40]]
    assert pair[1].finished - pair[0].finished > pair[0].in_flight
    assert windows(pair, looks[0], replaced=False) == []
    assert len(windows(pair, looks[0], replaced=True)) == 1
    assert len(windows([looks[1], looks[6]], looks[0], replaced=False)) == 1


def test_what_does_not_tell_is_left_out() -> None:
    _, looks = benchmark([(50, 10)] * 40)
    pair = [looks[1], looks[6]]
    assert windows(pair, None, replaced=True) == []
    assert windows([pair[0], replace(pair[1], preemptions=1.0)], looks[0], replaced=True) == []
    assert windows([pair[0], replace(pair[1], engine=None)], looks[0], replaced=True) == []
    assert windows(looks[:1], looks[0], replaced=True) == []


def test_a_file_names_the_service_its_columns_and_each_window() -> None:
    _, looks = benchmark([(50, 10)] * 40)
    found = windows(looks[1:30:5], looks[0], replaced=True)
    described, header, *rows = as_csv(SERVICE, found).splitlines()
    assert described.startswith('# {"concurrency":8,"configuration":{"MAX_NUM_SEQS":8},')
    assert tuple(header.split(",")) == COLUMNS
    assert len(rows) == len(found) == 5
