"""What single requests tell of a percentile."""

from __future__ import annotations

import math
from random import Random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serviceoptd.domain.settings import Slo
from serviceoptd.domain.statistics.order_statistics import deviation, needed, probability_within, tail, tails

P90, P99 = (Slo(metric="ttft", statistic=statistic, limit=1.0) for statistic in ("p90", "p99"))


def binomial(most: int, requests: int, share: float) -> float:
    """The probability of so many, or fewer, by its definition."""
    return sum(math.comb(requests, k) * share**k * (1 - share) ** (requests - k) for k in range(most + 1))


@given(st.integers(0, 30), st.integers(31, 79))
def test_the_probability_is_that_of_the_exact_binomial_test(above: int, requests: int) -> None:
    found = tail([2.0] * above + [0.5] * (requests - above), P90)
    assert probability_within([found], P90) == pytest.approx(1 - binomial(above, requests, 0.1), abs=1e-9)


def test_requests_of_several_measurements_count_together() -> None:
    one = tail([0.5] * 200, P99)
    assert probability_within([one], P99) == pytest.approx(1 - 0.99**200)
    assert probability_within([one, one], P99) == pytest.approx(1 - 0.99**400)


@pytest.mark.parametrize(("count", "percent"), [(20, 50), (50, 50), (50, 90), (79, 90), (79, 25)])
def test_the_interval_ends_at_the_nearest_ordered_requests_that_enclose_the_percentile(
    count: int, percent: int
) -> None:
    slo = Slo(metric="ttft", statistic=f"p{percent}", limit=1.0)
    found = tail([float(number) for number in range(1, count + 1)], slo)
    assert found.high is not None
    low, high, share = round(found.low), round(found.high), percent / 100
    assert binomial(low - 1, count, share) <= 0.025 < binomial(low, count, share)
    assert binomial(high - 2, count, share) < 0.975 <= binomial(high - 1, count, share)


def test_too_few_requests_leave_the_interval_open() -> None:
    found = tail([0.5] * 100, P99)
    assert found.high is None
    assert deviation(found) is None
    assert needed(P99, 0.05) == 299


@pytest.mark.parametrize("correlation", [0.0, 0.8])
def test_the_interval_holds_the_true_percentile_about_as_often_as_it_says(correlation: float) -> None:
    chance, held = Random(5), []
    truth = math.exp(1.2815515655446004)
    for _ in range(200):
        values, step = [], chance.gauss(0, 1)
        for _ in range(500):
            values.append(math.exp(step))
            step = correlation * step + math.sqrt(1 - correlation**2) * chance.gauss(0, 1)
        found = tail(values, P90)
        held.append(found.low <= truth <= (found.high or math.inf))
    assert fmean(held) > 0.9


def test_requests_that_are_slow_together_count_for_less() -> None:
    scattered = [2.0 if number % 50 == 0 else 0.5 + number * 37 % 1000 / 1e5 for number in range(1000)]
    together = sorted(scattered)
    apart, alike = tail(scattered, P90), tail(together, P90)
    assert alike.above == apart.above == 20
    assert alike.dependence > 5 * apart.dependence
    assert probability_within([alike], P90) < probability_within([apart], P90)


@given(st.lists(st.floats(0.001, 100), min_size=1, max_size=300), st.floats(1, 99.9), st.floats(0.01, 50))
def test_what_is_told_is_consistent(values: list[float], percent: float, limit: float) -> None:
    found = tail(values, Slo(metric="ttft", statistic=f"p{percent:g}", limit=limit))
    assert found.requests == len(values)
    assert 0 <= found.above <= found.requests
    assert found.dependence >= 1.0
    assert found.low <= max(values)
    assert found.high is None or found.low <= found.high


def test_only_percentiles_that_are_limited_are_told() -> None:
    slos = [
        P99, Slo(metric="tpot", limit=0.05), Slo(metric="e2el", statistic="p50", limit=9.0),
        Slo(metric="ttft", statistic="max", limit=9.0),
    ]  # fmt: skip
    assert set(tails({"ttft": [0.5], "tpot": [0.01], "e2el": []}, slos)) == {"ttft p99"}
