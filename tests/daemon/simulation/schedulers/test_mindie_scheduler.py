from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linear_step_times import LinearStepTimes
from serviceopt_journal.errors import InvalidConfiguration
from serviceoptd.simulation.schedulers.mindie import MindieLimits, MindieScheduler
from serviceoptd.simulation.virtual_benchmark import Traffic, run_benchmark
from serviceoptd.simulation.virtual_clock.interface import Batch, Request
from serviceoptd.simulation.virtual_clock.overheads import Overheads
from serviceoptd.simulation.virtual_clock.timeline import simulate

A_SECOND = LinearStepTimes(step=1.0)


def limits(**changed: object) -> MindieLimits:
    usual: dict[str, object] = {
        "max_batch_size": 4,
        "max_prefill_batch_size": 2,
        "max_prefill_tokens": 64,
        "max_seq_len": 64,
        "npu_blocks": 100,
        "cache_block_size": 8,
        "max_queue_delay_microseconds": 0,
    }
    return MindieLimits(**(usual | changed))  # type: ignore[arg-type]


def all_batches(requests: list[Request], settings: MindieLimits) -> list[dict[int, int]]:
    scheduler, found = MindieScheduler(requests, settings), []
    for request in range(len(requests)):
        scheduler.add(request, 0.0)
    while batch := scheduler.schedule(1.0):
        found.append(scheduler.scheduled())
        scheduler.complete(batch)
    return found


def test_prompts_come_before_tokens_and_never_in_one_batch() -> None:
    requests = [Request(10, 3), Request(10, 3), Request(10, 2)]
    assert all_batches(requests, limits()) == [{0: 10, 1: 10}, {2: 10}, {0: 1, 1: 1, 2: 1}, {0: 1, 1: 1}]


def test_a_batch_of_prompts_ends_at_its_number_of_tokens() -> None:
    found = all_batches([Request(40, 1), Request(30, 1)], limits())
    assert found == [{0: 40}, {1: 30}]


def test_no_more_run_than_the_batch_has_places() -> None:
    found = all_batches([Request(10, 2)] * 6, limits())
    assert found == [{0: 10, 1: 10}, {2: 10, 3: 10}, {0: 1, 1: 1, 2: 1, 3: 1}, {4: 10, 5: 10}, {4: 1, 5: 1}]


def test_with_select_batch_prompts_wait_until_decoding_with_empty_places_has_lost_more() -> None:
    requests = [Request(10, 9), Request(10, 9), Request(10, 2)]
    select = limits(support_select_batch=True, prefill_time_ms_per_req=150, decode_time_ms_per_req=50)
    found = all_batches(requests, select)
    # 2 run: 2 x 150 ms lost by a prompt; each round with 2 empty places of 4 adds 2 x 50 ms.
    assert found[:4] == [{0: 10, 1: 10}, {0: 1, 1: 1}, {0: 1, 1: 1}, {2: 10}]


def test_prompts_are_collected_for_the_queue_delay() -> None:
    requests = [Request(10, 1, arrival=0.0), Request(10, 1, arrival=0.3)]
    together = simulate(requests, MindieScheduler(requests, limits(max_queue_delay_microseconds=500_000)), A_SECOND)
    assert together.last_token == [1.3, 1.3], "a full batch does not wait for the end of the delay"
    alone = simulate(requests, MindieScheduler(requests, limits(max_queue_delay_microseconds=200_000)), A_SECOND)
    assert alone.last_token == pytest.approx([1.2, 2.2])


@pytest.mark.parametrize(("preempt_count", "again"), [(0, 10), (1, 0)])
def test_the_last_come_is_computed_again_or_swapped_out_where_the_host_has_room(preempt_count: int, again: int) -> None:
    requests = [Request(8, 12), Request(8, 12)]
    tight = limits(npu_blocks=4, max_seq_len=32, cpu_blocks=10, max_preempt_count=preempt_count, cache_block_size=8)
    scheduler = MindieScheduler(requests, tight)
    timeline = simulate(requests, scheduler, A_SECOND)
    assert timeline.preemptions == 1
    assert scheduler.free == 4
    assert scheduler.host_free == 10
    computed = [batch[1] for batch in all_batches(requests, tight) if batch.get(1, 1) > 1]
    assert len(computed) == (2 if again else 1), "its prompt, and once more where nothing was swapped"


class Watched(MindieScheduler):
    """Neither pool gives out more blocks than it has."""

    def schedule(self, now: float) -> Batch | None:
        batch = super().schedule(now)
        assert 0 <= self.free <= self._limits.npu_blocks
        assert 0 <= self.host_free <= self._limits.cpu_blocks
        return batch


@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=30),
    st.integers(8, 40),
    st.integers(1, 12),
    st.integers(0, 12),
    st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_every_request_is_given_each_of_its_tokens_once(
    lengths: list[tuple[int, int]], blocks: int, places: int, preempt_count: int, select: bool
) -> None:
    requests = [Request(prompt, output, arrival=0.1 * place) for place, (prompt, output) in enumerate(lengths)]
    settings = limits(
        npu_blocks=blocks,
        max_batch_size=places,
        max_prefill_batch_size=max(1, places // 2),
        max_preempt_count=min(places, preempt_count),
        cpu_blocks=20,
        support_select_batch=select,
    )
    scheduler = Watched(requests, settings)
    timeline = simulate(requests, scheduler, A_SECOND)
    assert sum(timeline.gap_counts) == sum(request.output_tokens - 1 for request in requests)
    assert all(
        last >= first > sent
        for first, last, sent in zip(timeline.first_token, timeline.last_token, timeline.sent, strict=True)
    )
    assert min(timeline.gaps, default=1.0) > 0.0
    assert (scheduler.free, scheduler.host_free) == (blocks, 20)


@pytest.mark.parametrize(
    "refused",
    [{"max_prefill_batch_size": 5}, {"max_prefill_batch_size": 0}, {"max_preempt_count": 5}, {"npu_blocks": 7}],
)
def test_what_mindie_would_not_start_with_is_refused_with_a_hint(refused: dict[str, object]) -> None:
    with pytest.raises(InvalidConfiguration) as error:
        limits(**refused)
    assert error.value.hint


def test_a_prompt_that_is_longer_than_the_longest_input_is_refused() -> None:
    requests = [Request(100, 5), Request(101, 5)]
    scheduler = MindieScheduler(requests, limits(max_seq_len=200, max_input_token_len=100))
    assert [scheduler.accepts(number) for number in range(2)] == [True, False]
    assert MindieScheduler(requests, limits(max_seq_len=200)).accepts(1)


def test_no_answer_has_more_tokens_than_the_most_iterations() -> None:
    traffic = Traffic(num_prompts=3, lengths=[(100, 50)], concurrency=None, request_rate=None)
    for most, tokens in ((0, 150), (20, 60), (80, 150)):
        found = run_benchmark(
            traffic, limits(max_seq_len=200, max_iter_times=most), LinearStepTimes(step=0.01), overheads=Overheads()
        )
        assert found.output_tokens == tokens
