"""Predictions corrected by what was measured, and how far they are believed. All numbers are invented."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from serviceoptd.search.gaussian_process import GaussianProcess
from serviceoptd.simulation.advice.correction import FEWEST, NOT_KNOWN, Correction, left_out

Array = NDArray[np.float64]
NOISE = 0.03


def points(count: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).random((count, 2))


def truth(at: Array) -> Array:
    return np.asarray(5.0 + 1.5 * np.sin(5 * at[:, 0]) + at[:, 1])


def measured(at: Array, seed: int = 0) -> Array:
    return np.asarray(truth(at) + NOISE * np.random.default_rng([seed, 1]).standard_normal(len(at)))


@given(bias=st.floats(-0.5, 0.5), seed=st.integers(0, 50))
def test_a_bias_is_taken_away_and_believed_afterwards(bias: float, seed: int) -> None:
    seen = points(5, seed)
    correction = Correction(seen, truth(seen) + bias, measured(seen, seed), NOISE)
    assert correction.weight > 0.8
    asked = points(20, seed + 100)
    belief = correction.at(asked, truth(asked) + bias)
    assert np.abs(belief.corrected - truth(asked)).max() < 0.2


@given(seed=st.integers(0, 50))
def test_a_simulator_that_says_the_opposite_has_no_influence(seed: int) -> None:
    seen, asked = points(20, seed), points(20, seed + 100)
    correction = Correction(seen, 10.0 - truth(seen), measured(seen, seed), NOISE)
    assert correction.weight < 0.2
    belief = correction.at(asked, 10.0 - truth(asked))
    limit = 5.5
    agrees = (belief.log_below(limit) > np.log(0.5)) == (belief.without < limit)
    assert agrees.mean() > 0.7


@given(count=st.integers(1, FEWEST - 1))
def test_before_anything_can_be_left_out_nothing_is_known(count: int) -> None:
    seen = points(count)
    assert Correction(seen, truth(seen), measured(seen), NOISE).weight == NOT_KNOWN


@given(limit=st.floats(3.0, 8.0), seed=st.integers(0, 20))
def test_what_is_not_below_a_limit_is_above_it(limit: float, seed: int) -> None:
    seen, asked = points(8, seed), points(5, seed + 1)
    belief = Correction(seen, truth(seen), measured(seen, seed), NOISE).at(asked, truth(asked))
    assert np.exp(belief.log_below(limit)) + np.exp(belief.log_above(limit)) == pytest.approx(np.ones(5))


@given(seed=st.integers(0, 30))
def test_leaving_one_out_is_the_same_as_never_having_seen_it(seed: int) -> None:
    seen, values = points(7, seed), measured(points(7, seed), seed) - 5.0
    process = GaussianProcess.fit(seen, values, noise=NOISE, size=1.0, constant=1.0)
    others = [index for index in range(7) if index != 3]
    without = GaussianProcess.conditioned(seen[others], values[others], process.hyperparameters, 1.0)
    mean, deviation = without.predict(seen[3:4])
    variance = deviation[0] ** 2 + process.noise**2
    density = -0.5 * (np.log(2 * np.pi * variance) + (values[3] - mean[0]) ** 2 / variance)
    assert left_out(process, values)[3] == pytest.approx(density, rel=1e-3, abs=1e-3)
