from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serviceopt_journal.errors import InvalidConfiguration
from serviceoptd.simulation.schedulers.vllm import VllmScheduler
from serviceoptd.simulation.schedulers.vllm_limits import VllmLimits
from serviceoptd.simulation.virtual_clock.interface import Batch, Request
from simulated_workloads import described, digest, played, random_workload

RECORDED = Path(__file__).with_name("vllm-0.32.0-batches.txt")
"""Written by tests/bench/scheduler_contract.py from the batches of the real scheduler."""


def limits(**changed: object) -> VllmLimits:
    usual: dict[str, object] = {
        "max_num_seqs": 8,
        "max_num_batched_tokens": 64,
        "max_model_len": 128,
        "kv_blocks": 100,
        "block_size": 16,
    }
    return VllmLimits(**(usual | changed))  # type: ignore[arg-type]


def all_batches(requests: list[Request], settings: VllmLimits) -> list[dict[int, int]]:
    """Request -> tokens, of each batch; all requests arrive at the start and nothing is ever idle."""
    scheduler, found = VllmScheduler(requests, settings), []
    for request in range(len(requests)):
        scheduler.add(request, 0.0)
    while batch := scheduler.schedule(0.0):
        found.append(scheduler.scheduled())
        scheduler.complete(batch)
    return found


@pytest.mark.parametrize("line", RECORDED.read_text().splitlines())
def test_its_batches_are_those_that_the_real_scheduler_composed(line: str) -> None:
    seed, recorded = line.split()
    workload = random_workload(int(seed))
    assert digest(VllmScheduler(workload.requests, workload.limits), workload) == recorded


class VisitsEach(VllmScheduler):
    """Looks at each request by itself, in every step."""

    def _contended(self, budget: int, threshold: int) -> bool:
        self._part()
        return False


@given(st.integers(0, 10**9))
@settings(max_examples=60, deadline=None)
def test_counting_requests_in_step_gives_what_visiting_each_gives(seed: int) -> None:
    workload = random_workload(seed)
    counting = VllmScheduler(workload.requests, workload.limits)
    visiting = VisitsEach(workload.requests, workload.limits)
    for one, other in zip(played(counting, workload), played(visiting, workload), strict=True):
        assert described(counting, one) == described(visiting, other)


@given(st.integers(0, 10**9))
@settings(max_examples=60, deadline=None)
def test_every_request_is_given_each_of_its_tokens_once_and_the_blocks_suffice(seed: int) -> None:
    workload = random_workload(seed)
    scheduler = VllmScheduler(workload.requests, workload.limits)
    count = len(workload.requests)
    first, finished, later = [0] * count, [0] * count, 0
    for batch in played(scheduler, workload):
        assert 0 <= scheduler.pool.free <= scheduler.pool.blocks
        if batch is None:
            continue
        assert sum(scheduler.scheduled().values()) <= workload.limits.max_num_batched_tokens
        assert len(scheduler.scheduled()) <= workload.limits.max_num_seqs
        later += sum(number for _, number in batch.gaps)
        for request in batch.first:
            first[request] += 1
        for request in batch.finished:
            finished[request] += 1
    assert first == finished == [1] * count
    assert later == sum(request.output_tokens - 1 for request in workload.requests)
    assert scheduler.pool.free == scheduler.pool.blocks, "every block comes back"


def test_running_requests_come_first_and_a_prompt_is_cut_to_what_is_left_of_the_budget() -> None:
    requests = [Request(40, 3), Request(40, 2), Request(20, 1)]
    assert all_batches(requests, limits()) == [{0: 40, 1: 24}, {0: 1, 1: 16, 2: 20}, {0: 1, 1: 1}]


def test_without_chunked_prefill_a_prompt_waits_until_it_fits_whole() -> None:
    requests = [Request(40, 2), Request(40, 2)]
    settings = limits(enable_chunked_prefill=False, max_model_len=64)
    assert all_batches(requests, settings) == [{0: 40}, {0: 1, 1: 40}, {1: 1}]


def test_a_long_prompt_leaves_room_for_others_where_a_threshold_says_so() -> None:
    requests = [Request(60, 1), Request(10, 1)]
    first, second, *_ = all_batches(requests, limits(long_prefill_token_threshold=20))
    assert (first, second) == ({0: 20, 1: 10}, {0: 40}), "alone, it may take the whole budget"


def test_the_last_come_is_preempted_and_computed_again_with_its_output() -> None:
    requests = [Request(30, 20), Request(30, 20)]
    found = all_batches(requests, limits(kv_blocks=6, max_model_len=64))
    assert found[0] == {0: 30, 1: 30}
    preempted = next(place for place, tokens in enumerate(found) if 1 not in tokens)
    assert found[preempted - 1][1] == 1
    again = next(tokens[1] for tokens in found[preempted:] if 1 in tokens)
    assert again == 30 + preempted, "its prompt and a token of each batch so far"


def test_the_lowest_in_priority_is_preempted_where_priority_counts() -> None:
    requests = [Request(30, 20, priority=1), Request(30, 20, priority=0)]
    found = all_batches(requests, limits(kv_blocks=6, max_model_len=64, policy="priority"))
    assert found[0] == {1: 30, 0: 30}
    assert next(tokens for tokens in found if len(tokens) == 1) == {1: 1}


def test_a_shared_prefix_is_computed_once_and_its_last_token_always_again() -> None:
    requests = [Request(40, 1, prefix_tokens=32), Request(40, 1, prefix_tokens=32), Request(32, 1, prefix_tokens=32)]
    cached = limits(enable_prefix_caching=True, max_num_batched_tokens=128)
    assert all_batches(requests, cached) == [{0: 40, 1: 8, 2: 16}]
    assert all_batches(requests, limits(max_num_batched_tokens=128)) == [{0: 40, 1: 40, 2: 32}]


def test_with_asynchronous_scheduling_a_finished_request_keeps_its_place_for_one_more_batch() -> None:
    requests = [Request(10, 1), Request(10, 1)]
    scheduler = VllmScheduler(requests, limits(max_num_seqs=1, async_scheduling=True))
    scheduler.add(0, 0.0)
    scheduler.add(1, 0.0)
    first = scheduler.schedule(0.0)
    assert isinstance(first, Batch)
    assert first.finished == [0]
    assert scheduler.schedule(0.0) is None
    scheduler.complete(first)
    second = scheduler.schedule(1.0)
    assert second is not None
    assert second.finished == [1]


@pytest.mark.parametrize(
    "refused",
    [
        {"max_num_batched_tokens": 7},
        {"enable_chunked_prefill": False},
        {"kv_blocks": 8},
        {"max_num_seqs": 0},
        {"long_prefill_token_threshold": 129},
    ],
)
def test_what_vllm_would_not_start_with_is_refused_with_a_hint(refused: dict[str, object]) -> None:
    with pytest.raises(InvalidConfiguration) as error:
        limits(**refused)
    assert error.value.hint


def test_a_request_longer_than_the_model_allows_is_refused() -> None:
    scheduler = VllmScheduler([Request(100, 28), Request(100, 29)], limits())
    assert [scheduler.accepts(0), scheduler.accepts(1)] == [True, False]
