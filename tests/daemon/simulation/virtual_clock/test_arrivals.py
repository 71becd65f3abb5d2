from __future__ import annotations

import math
import statistics
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serviceopt_journal.errors import InvalidConfiguration
from serviceoptd.simulation.virtual_clock.arrivals import RampUp, arrivals
from serviceoptd.simulation.virtual_clock.distributions import Distribution
from serviceoptd.simulation.virtual_clock.lengths import (
    RandomLengths,
    SampledLengths,
    random_requests,
    recorded_requests,
    sampled_requests,
)


@given(st.integers(1, 200), st.floats(0.01, 1e4), st.sampled_from([0.1, 0.9, 1.0, 3.0, math.inf]), st.integers(0, 99))
def test_requests_come_in_order_and_the_last_one_when_the_rate_says(
    number: int, rate: float, burstiness: float, seed: int
) -> None:
    times = arrivals(number, request_rate=rate, burstiness=burstiness, seed=seed)
    assert times == sorted(times)
    assert times[0] >= 0.0
    assert times[-1] == pytest.approx(number / rate)
    assert times == arrivals(number, request_rate=rate, burstiness=burstiness, seed=seed)


@pytest.mark.parametrize("burstiness", [0.25, 0.5, 1.0, 2.0, 9.0])
def test_gaps_vary_as_the_burstiness_says(burstiness: float) -> None:
    times = [0.0, *arrivals(20_000, request_rate=10.0, burstiness=burstiness, seed=3)]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    variation = statistics.pstdev(gaps) / statistics.fmean(gaps)
    assert variation == pytest.approx(1.0 / math.sqrt(burstiness), rel=0.05), "a gamma distribution of this shape"


def test_without_a_rate_all_come_at_the_start() -> None:
    assert arrivals(3, request_rate=None) == arrivals(3, request_rate=math.inf) == [0.0] * 3
    assert arrivals(0, request_rate=1.0) == []


def test_random_lengths_fill_their_range_and_nothing_else() -> None:
    lengths = RandomLengths(input_tokens=10, output_tokens=5, range_ratio=0.5, prefix_tokens=100)
    requests = random_requests([0.0] * 2000, lengths, seed=1)
    assert {request.prompt_tokens for request in requests} == set(range(105, 116))
    assert {request.output_tokens for request in requests} == set(range(2, 9))
    fixed = random_requests([0.5], RandomLengths(input_tokens=10, output_tokens=5))
    assert (fixed[0].prompt_tokens, fixed[0].output_tokens, fixed[0].arrival) == (10, 5, 0.5)


def test_a_short_data_set_begins_again() -> None:
    requests = recorded_requests([0.0, 1.0, 2.0], [(10, 1), (20, 2)])
    assert [(request.prompt_tokens, request.output_tokens) for request in requests] == [(10, 1), (20, 2), (10, 1)]
    with pytest.raises(InvalidConfiguration, match="no requests"):
        recorded_requests([0.0], [])


def test_conversations_are_drawn_whole_and_those_with_times_begin_at_them() -> None:
    lengths = SampledLengths(((1, 1), (2, 1), (3, 1)), turns=(2, 1))
    for seed in range(5):
        drawn = [request.prompt_tokens for request in sampled_requests([0.0] * 2, lengths, seed)]
        assert drawn in ([1, 2, 3], [3, 1, 2])
        more = [request.prompt_tokens for request in sampled_requests([0.0] * 4, lengths, seed)]
        assert more[:3] == drawn
        assert "".join(map(str, more[3:])) in ("33", "1212", "123", "312")
    counted = SampledLengths(((1, 1), (2, 1), (3, 1)), shuffled=False, turns=(2, 1), requests_count=True)
    assert [request.prompt_tokens for request in sampled_requests([0.0] * 4, counted)][:3] == [1, 2, 3]
    assert len(sampled_requests([0.0] * 4, counted)) == 4
    timed = sampled_requests([0.0] * 3, SampledLengths(((1, 1), (2, 1)), shuffled=False, times=(0.5, 4.0)))
    assert [(request.prompt_tokens, request.arrival) for request in timed] == [(1, 0.5), (2, 4.0)]


def test_several_prefixes_are_shared_by_equally_many_requests() -> None:
    lengths = RandomLengths(input_tokens=10, output_tokens=5, prefix_tokens=100, prefixes=4)
    prefixes = [request.prefix for request in random_requests([0.0] * 40, lengths, seed=1)]
    assert [prefixes.count(number) for number in range(4)] == [10] * 4
    assert prefixes != sorted(prefixes)


def test_each_turn_of_drawn_conversations_has_all_that_was_said() -> None:
    lengths = RandomLengths(input_tokens=10, output_tokens=5, prefix_tokens=3, added_tokens=1, turns=2)
    requests = random_requests([0.0] * 4, lengths)
    assert [each.prompt_tokens for each in requests] == [14, 29, 14, 29]
    assert [each.after for each in requests] == [None, 0, None, 2]
    assert [each.prefix for each in requests] == [0, 0, 1, 1]


@given(st.sampled_from(["uniform", "normal", "zipf"]), st.integers(1, 50), st.integers(0, 200), st.integers(0, 2**32))
def test_no_length_is_drawn_outside_of_its_bounds(kind: Any, low: int, more: int, seed: int) -> None:
    spread = Distribution(kind=kind, min=low, max=low + more, mean=40.0, deviation=30.0, exponent=1.2)
    lengths = RandomLengths(input_tokens=1, output_tokens=1, inputs=spread, outputs=spread)
    for request in random_requests([0.0] * 20, lengths, seed):
        assert low <= request.prompt_tokens <= low + more
        assert low <= request.output_tokens <= low + more


def test_lengths_are_spread_as_they_should_be() -> None:
    wide = {"min": 1, "max": 10**6}
    drawn = {
        kind: [each.prompt_tokens for each in random_requests([0.0] * 20_000, RandomLengths(
            input_tokens=1, output_tokens=1, inputs=spread), seed=3)]
        for kind, spread in {
            "uniform": Distribution(kind="uniform", min=3, max=6),
            "normal": Distribution(kind="normal", **wide, mean=500.0, deviation=50.0),
            "zipf": Distribution(kind="zipf", **wide, exponent=3.0),
        }.items()
    }  # fmt: skip
    for value in range(3, 7):
        assert drawn["uniform"].count(value) / 20_000 == pytest.approx(0.25, abs=0.01)
    assert statistics.fmean(drawn["normal"]) == pytest.approx(500.0, abs=1.5)
    assert statistics.pstdev(drawn["normal"]) == pytest.approx(50.0, rel=0.02)
    of_one = drawn["zipf"].count(1) / 20_000
    assert of_one == pytest.approx(1 / 1.2020569, abs=0.01), "1 / zeta(3)"
    assert drawn["zipf"].count(2) / 20_000 == pytest.approx(of_one / 8, abs=0.01)


def test_a_rate_that_grows_brings_the_requests_closer_together() -> None:
    steady = arrivals(1000, request_rate=None, burstiness=math.inf, ramp_up=RampUp("linear", 10.0, 10.0))
    assert steady[-1] == pytest.approx(100.0)
    for strategy in ("linear", "exponential"):
        times = arrivals(1001, request_rate=None, burstiness=math.inf, ramp_up=RampUp(strategy, 1.0, 100.0))
        gaps = [later - earlier for earlier, later in pairwise([0.0, *times])]
        assert gaps[0] == pytest.approx(1.0)
        assert gaps[-1] == pytest.approx(0.01)
        assert gaps[500] == pytest.approx(1 / (50.5 if strategy == "linear" else 10.0))
    drawn = arrivals(5000, request_rate=None, ramp_up=RampUp("linear", 5.0, 5.0), seed=2)
    assert drawn[-1] == pytest.approx(1000.0, rel=0.05)
