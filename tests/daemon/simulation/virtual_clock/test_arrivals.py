from __future__ import annotations

import math
import statistics
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serviceopt_journal.errors import InvalidConfiguration
from serviceoptd.simulation.virtual_clock.arrivals import arrivals
from serviceoptd.simulation.virtual_clock.lengths import RandomLengths, random_requests, recorded_requests


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
