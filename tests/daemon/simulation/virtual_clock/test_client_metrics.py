from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serviceoptd.domain.settings import Slo
from serviceoptd.simulation.virtual_clock.client_metrics import client_metrics, latency
from serviceoptd.simulation.virtual_clock.interface import Request
from serviceoptd.simulation.virtual_clock.timeline import Timeline

REQUESTS = [Request(100, 11), Request(50, 1), Request(20, 5), Request(10**6, 1)]
SEEN = Timeline(
    sent=[0.0, 0.5, 1.0, 1.0],
    first_token=[1.0, 1.5, 3.0, -1.0],
    last_token=[3.0, 1.5, 4.0, -1.0],
    gaps=[0.2, 0.25],
    gap_counts=[10, 4],
    ended=4.0,
    steps=20,
    busy=4.0,
    preemptions=0,
)


def test_the_figures_are_those_that_the_client_would_print() -> None:
    metrics = client_metrics(REQUESTS, SEEN)
    assert (metrics.completed, metrics.failed, metrics.success_rate) == (3, 1, 0.75)
    assert (metrics.throughput, metrics.generate_speed) == (3 / 4.0, 17 / 4.0)
    assert (metrics.input_tokens, metrics.output_tokens, metrics.duration) == (170, 17, 4.0)
    assert metrics.ttft["mean"] == pytest.approx((1.0 + 1.0 + 2.0) / 3)
    assert metrics.tpot["mean"] == pytest.approx((0.2 + 0.25) / 2), "a request of one token has no time per token"
    assert metrics.e2el["mean"] == pytest.approx((3.0 + 1.0 + 3.0) / 3)
    assert metrics.itl["mean"] == pytest.approx((10 * 0.2 + 4 * 0.25) / 14)


def test_goodput_counts_requests_that_meet_every_limit() -> None:
    slos = (Slo(metric="ttft", statistic="p75", limit=1.5), Slo(metric="tpot", limit=0.19))
    metrics = client_metrics(REQUESTS, SEEN, slos)
    assert metrics.goodput == pytest.approx(1 / 4.0), "the one of one token: the client takes its time per token as 0"
    assert metrics.ttft["p75"] == pytest.approx(1.5), "a percentile that an objective asks for is there"


def test_nothing_served_is_no_error() -> None:
    nothing = Timeline([0.0], [-1.0], [-1.0], [], [], 0.0, 0, 0.0, 0)
    metrics = client_metrics([Request(10**6, 1)], nothing)
    assert (metrics.completed, metrics.throughput, metrics.ttft) == (0, 0.0, {})


@given(
    st.lists(st.tuples(st.floats(0, 1000), st.integers(1, 50)), min_size=1, max_size=60),
    st.sampled_from(["p1", "p50", "p99.9", "p100"]),
)
def test_percentiles_of_counted_values_are_numpys_of_all_of_them(pairs: list[tuple[float, int]], asked: str) -> None:
    values, counts = [value for value, _ in pairs], [count for _, count in pairs]
    found, everything = latency(values, counts, [asked]), np.repeat(values, counts)
    assert found["mean"] == pytest.approx(np.mean(everything))
    for name, value in found.items():
        if name.startswith("p"):
            assert value == pytest.approx(np.percentile(everything, float(name[1:])), rel=1e-12, abs=1e-12)
