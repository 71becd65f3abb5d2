from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linear_step_times import LinearStepTimes
from serviceoptd.simulation.schedulers.vllm import VllmScheduler
from serviceoptd.simulation.schedulers.vllm_limits import VllmLimits
from serviceoptd.simulation.virtual_clock.arrivals import arrivals
from serviceoptd.simulation.virtual_clock.client_metrics import client_metrics
from serviceoptd.simulation.virtual_clock.interface import Batch, Request
from serviceoptd.simulation.virtual_clock.lengths import (
    RandomLengths,
    SampledLengths,
    random_requests,
    sampled_requests,
)
from serviceoptd.simulation.virtual_clock.overheads import Overheads
from serviceoptd.simulation.virtual_clock.timeline import NEVER, Stuck, Timeline, simulate

A_SECOND = LinearStepTimes(step=1.0)
DEVICE = LinearStepTimes(
    step=0.012,
    with_prefill=0.001,
    prefill_sequence=1e-4,
    prefill_token=5e-5,
    prefill_attention=1e-9,
    decode_sequence=6e-5,
    decode_context=7e-8,
)
LIMITS = VllmLimits(max_num_seqs=16, max_num_batched_tokens=256, max_model_len=512, kv_blocks=200)
AMPLE = replace(LIMITS, max_num_seqs=64, max_num_batched_tokens=8192, kv_blocks=4000)

WORKLOADS = st.builds(
    lambda count, rate, burstiness, prompt, output, seed: random_requests(
        arrivals(count, request_rate=rate, burstiness=burstiness, seed=seed),
        RandomLengths(input_tokens=prompt, output_tokens=output, range_ratio=0.5),
        seed,
    ),
    count=st.integers(1, 40),
    rate=st.one_of(st.none(), st.floats(0.1, 100.0)),
    burstiness=st.sampled_from([0.3, 1.0, 4.0]),
    prompt=st.integers(2, 200),
    output=st.integers(1, 100),
    seed=st.integers(0, 2**32),
)
OVERHEADS = st.builds(
    Overheads,
    delay=st.floats(0, 0.1),
    work_per_request=st.floats(0, 0.01),
    work_per_prompt_token=st.floats(0, 1e-4),
    return_delay=st.floats(0, 0.1),
    work_per_token=st.floats(0, 1e-3),
)


def run(requests: list[Request], limits: VllmLimits = LIMITS, **options: object) -> Timeline:
    return simulate(requests, VllmScheduler(requests, limits), DEVICE, **options)  # type: ignore[arg-type]


def test_one_request_takes_a_step_for_each_token() -> None:
    requests = [Request(10, 3, arrival=2.0)]
    timeline = simulate(requests, VllmScheduler(requests, LIMITS), A_SECOND)
    assert (timeline.first_token, timeline.last_token) == ([3.0], [5.0])
    assert (timeline.gaps, timeline.gap_counts) == ([1.0, 1.0], [1, 1])
    assert (timeline.steps, timeline.busy, timeline.ended) == (3, 3.0, 5.0)


def test_who_comes_while_a_batch_runs_is_in_the_next_one_or_with_two_in_flight_in_the_one_after_it() -> None:
    requests = [Request(10, 5), Request(10, 1, arrival=0.5)]
    assert simulate(requests, VllmScheduler(requests, LIMITS), A_SECOND).first_token == [1.0, 2.0]
    two_in_flight = replace(LIMITS, async_scheduling=True)
    assert simulate(requests, VllmScheduler(requests, two_in_flight), A_SECOND).first_token == [1.0, 3.0]


def test_a_later_turn_is_sent_when_the_one_before_it_is_answered_and_keeps_its_place() -> None:
    requests = [Request(10, 2), Request(12, 2, after=0), Request(10, 2)]
    timeline = simulate(requests, VllmScheduler(requests, LIMITS), A_SECOND, concurrency=1)
    assert timeline.sent == [0.0, 2.0, 4.0]
    timeline = simulate(requests, VllmScheduler(requests, LIMITS), A_SECOND)
    assert timeline.sent == [0.0, 2.0, 0.0]
    refused = [Request(600, 2), Request(12, 2, after=0), Request(10, 2)]
    timeline = simulate(refused, VllmScheduler(refused, LIMITS), A_SECOND, concurrency=1)
    assert timeline.last_token == [NEVER, NEVER, 2.0]


def test_the_turns_of_a_conversation_find_what_was_said_in_the_prefix_cache() -> None:
    talks = SampledLengths(((64, 2), (128, 2), (64, 2)), shuffled=False, turns=(2, 1))
    requests = sampled_requests([0.0, 0.0], talks)
    assert [(each.prefix, each.prefix_tokens, each.after) for each in requests] == [
        (1, 64, None),
        (1, 128, 0),
        (2, 0, None),
    ]
    alone = requests[:2]
    seconds = {}
    for cached in (False, True):
        limits = replace(AMPLE, enable_prefix_caching=cached)
        timeline = simulate(alone, VllmScheduler(alone, limits), DEVICE)
        seconds[cached] = timeline.first_token[1] - timeline.sent[1]
    assert seconds[True] < seconds[False]


def test_the_client_sends_no_more_at_once_than_it_may() -> None:
    requests = [Request(10, 2)] * 3
    timeline = simulate(requests, VllmScheduler(requests, LIMITS), A_SECOND, concurrency=1)
    assert timeline.sent == [0.0, 2.0, 4.0]
    assert client_metrics(requests, timeline).e2el["max"] == 2.0, "waiting for its place is not the request's time"


def test_what_lies_around_the_engine_queues_where_one_thread_does_it() -> None:
    requests = [Request(10, 2)] * 2
    costs = Overheads(
        delay=0.5, work_per_request=0.25, work_per_prompt_token=0.025, return_delay=0.125, work_per_token=0.0625
    )
    timeline = simulate(requests, VllmScheduler(requests, LIMITS), A_SECOND, overheads=costs)
    # The first reaches the engine at 0.5 + 0.5, the second half a second later, while the first batch runs.
    assert timeline.first_token == [2.0 + 0.0625 + 0.125, 3.0 + 2 * 0.0625 + 0.125]


def test_a_request_that_the_server_refuses_fails_at_once() -> None:
    requests = [Request(500, 13), Request(10, 1)]
    timeline = run(requests, concurrency=1)
    metrics = client_metrics(requests, timeline)
    assert timeline.last_token[0] == NEVER
    assert (metrics.completed, metrics.failed, metrics.success_rate) == (1, 1, 0.5)


def test_a_scheduler_that_never_serves_is_an_error_and_no_endless_loop() -> None:
    class Lazy(VllmScheduler):
        def schedule(self, now: float) -> Batch | None:
            return None

    with pytest.raises(Stuck):
        simulate([Request(1, 1)], Lazy([Request(1, 1)], LIMITS), A_SECOND)


@given(WORKLOADS, OVERHEADS, st.one_of(st.none(), st.integers(1, 20)), st.booleans())
@settings(max_examples=100, deadline=None)
def test_no_request_is_lost_and_time_never_runs_back(
    requests: list[Request], overheads: Overheads, concurrency: int | None, two_in_flight: bool
) -> None:
    timeline = run(
        requests,
        replace(LIMITS, kv_blocks=40, async_scheduling=two_in_flight),
        overheads=overheads,
        concurrency=concurrency,
    )
    for request, sent, first, last in zip(
        requests, timeline.sent, timeline.first_token, timeline.last_token, strict=True
    ):
        assert request.arrival <= sent < first <= last <= timeline.ended
        assert (first == last) == (request.output_tokens == 1)
    assert sum(timeline.gap_counts) == sum(request.output_tokens - 1 for request in requests)
    assert min(timeline.gaps, default=1.0) > 0.0
    assert timeline.sent == sorted(timeline.sent)
    if concurrency:
        ends = sorted(timeline.last_token)
        assert all(
            sent >= ends[place - concurrency] for place, sent in enumerate(timeline.sent) if place >= concurrency
        )


@given(WORKLOADS, st.integers(0, 3), st.integers(0, 4096), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_more_capacity_changes_nothing_for_a_load_that_does_not_need_it(
    requests: list[Request], seqs: int, tokens: int, blocks: int
) -> None:
    more = replace(
        AMPLE,
        max_num_seqs=AMPLE.max_num_seqs + seqs,
        max_num_batched_tokens=AMPLE.max_num_batched_tokens * 4 + tokens,
        kv_blocks=AMPLE.kv_blocks + blocks,
    )
    ample = replace(AMPLE, max_num_batched_tokens=AMPLE.max_num_batched_tokens * 4)
    assert run(requests, more) == run(requests, ample)


@given(WORKLOADS, st.integers(16, 256), st.integers(0, 256))
@settings(max_examples=60, deadline=None)
def test_a_larger_token_budget_never_delays_requests_that_come_one_by_one(
    requests: list[Request], budget: int, more: int
) -> None:
    def first_tokens(budget: int) -> list[float]:
        timeline = run(requests, replace(LIMITS, max_num_batched_tokens=budget), concurrency=1)
        return [first - sent for first, sent in zip(timeline.first_token, timeline.sent, strict=True)]

    slower, faster = first_tokens(budget), first_tokens(budget + more)
    assert all(one <= other + 1e-9 for one, other in zip(faster, slower, strict=True))


@given(WORKLOADS, OVERHEADS, st.one_of(st.none(), st.integers(1, 20)))
@settings(max_examples=40, deadline=None)
def test_the_same_benchmark_gives_the_same_result_to_the_bit(
    requests: list[Request], overheads: Overheads, concurrency: int | None
) -> None:
    one = run(requests, overheads=overheads, concurrency=concurrency)
    assert one == run(requests, overheads=overheads, concurrency=concurrency)
    assert client_metrics(requests, one) == client_metrics(requests, one)
