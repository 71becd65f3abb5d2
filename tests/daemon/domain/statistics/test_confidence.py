"""Student's t distribution against published tables, and the noise that several configurations share."""

from __future__ import annotations

import math
from statistics import stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serviceoptd.domain.statistics.confidence import (
    Mean,
    Noise,
    interval,
    pooled,
    probability_below,
    t_probability,
    t_quantile,
)

LOGARITHMS = st.lists(st.floats(-20, 20), min_size=2, max_size=8)


@pytest.mark.parametrize(
    ("probability", "freedom", "value"),
    [  # CRC Standard Probability and Statistics Tables, 1991
        (0.975, 1, 12.7062), (0.975, 2, 4.30265), (0.95, 3, 2.35336), (0.975, 5, 2.57058), (0.995, 10, 3.16927),
        (0.9, 30, 1.31042), (0.975, 120, 1.97993), (0.9995, 4, 8.61030),
    ],
)  # fmt: skip
def test_quantiles_are_those_of_the_tables(probability: float, freedom: float, value: float) -> None:
    assert t_quantile(probability, freedom) == pytest.approx(value, rel=1e-5)
    assert t_quantile(1 - probability, freedom) == pytest.approx(-value, rel=1e-5)


@given(st.floats(-50, 50), st.floats(1, 500))
def test_the_distribution_is_symmetric_and_between_0_and_1(value: float, freedom: float) -> None:
    assert 0 <= t_probability(value, freedom) <= 1
    assert t_probability(value, freedom) + t_probability(-value, freedom) == pytest.approx(1, abs=1e-7)


@given(st.floats(0.001, 0.999), st.floats(1, 200))
def test_a_quantile_has_its_probability(probability: float, freedom: float) -> None:
    assert t_probability(t_quantile(probability, freedom), freedom) == pytest.approx(probability, abs=1e-7)


@given(LOGARITHMS)
def test_the_noise_of_one_configuration_is_its_standard_deviation(values: list[float]) -> None:
    noise = pooled([values])
    assert noise.deviation == pytest.approx(stdev(values), abs=1e-9)
    assert noise.freedom == len(values) - 1


@given(LOGARITHMS, st.floats(-5, 5))
def test_a_difference_between_configurations_is_no_noise(values: list[float], shift: float) -> None:
    alone, both = pooled([values]), pooled([values, [value + shift for value in values]])
    assert both.deviation == pytest.approx(alone.deviation, abs=1e-6)
    assert both.freedom == 2 * alone.freedom


def test_one_measurement_tells_no_noise_and_gives_no_interval() -> None:
    noise = pooled([[1.0], [2.0]])
    assert noise == Noise(0.0, 0.0)
    assert interval(1.0, 0.1, noise, 0.95) is None
    assert pooled([[1.0]], assumed=0.05).deviation == pytest.approx(0.05)


def test_an_interval_holds_its_estimate_and_allows_for_having_been_chosen() -> None:
    noise = Noise(0.1, 4)
    one, best_of_three = interval(0.0, 0.05, noise, 0.95), interval(0.0, 0.05, noise, 0.95, best_of=3)
    assert one is not None
    assert best_of_three is not None
    assert one == pytest.approx((math.exp(-0.05 * 2.77645), math.exp(0.05 * 2.77645)), rel=1e-5)
    assert best_of_three[0] < one[0]
    assert best_of_three[1] == one[1]


def test_the_nearer_a_mean_is_to_its_limit_the_less_sure_it_is() -> None:
    noise = Noise(0.05, 6)
    sure = [probability_below(Mean(value, 3), 0.0, noise) for value in (-0.2, -0.05, 0.0, 0.05, 0.2)]
    assert sure == sorted(sure, reverse=True)
    assert sure[0] > 0.99
    assert sure[2] == pytest.approx(0.5, abs=1e-6)
    assert probability_below(Mean(-0.05, 9), 0.0, noise) > probability_below(Mean(-0.05, 2), 0.0, noise)
