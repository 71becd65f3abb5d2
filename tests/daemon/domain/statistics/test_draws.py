from __future__ import annotations

import math
from statistics import correlation, fmean, pvariance

from hypothesis import given
from hypothesis import strategies as st

from serviceoptd.domain.statistics.draws import permutation, uniform, uniforms

seeds = st.integers(0, 2**63)


def test_the_numbers_are_these_for_ever_because_journals_depend_on_them() -> None:
    assert uniforms(7, "swarm move", 3, 3) == [0.38090834079310143, 0.1615147959374763, 0.6865213811990462]
    assert uniform(7, "swarm move", 3, 9) == 0.5298130883995692
    assert permutation(7, "order", 0, 6) == [5, 4, 1, 0, 2, 3]


@given(seed=seeds, purpose=st.text(max_size=20), particle=st.integers(0, 10**6), count=st.integers(0, 40))
def test_a_number_does_not_depend_on_what_else_was_drawn(seed: int, purpose: str, particle: int, count: int) -> None:
    drawn = uniforms(seed, purpose, particle, count)
    assert drawn == [uniform(seed, purpose, particle, index) for index in range(count)]
    assert all(0 <= value < 1 for value in drawn)


@given(seed=seeds, size=st.integers(0, 50))
def test_a_permutation_holds_every_number_once(seed: int, size: int) -> None:
    assert sorted(permutation(seed, "order", 1, size)) == list(range(size))


def test_seed_purpose_particle_and_index_each_change_the_number() -> None:
    drawn = {
        uniform(seed, purpose, particle, index)
        for seed in range(5)
        for purpose in ("a", "b", "1,a", "a,1")
        for particle in range(5)
        for index in range(20)
    }
    assert len(drawn) == 5 * 4 * 5 * 20


def test_the_numbers_spread_evenly() -> None:
    values = uniforms(1, "evenness", 1, 10_000)
    # Six standard errors: 6 x sqrt(1/12 / 10000) and, for a tenth of the values, 6 x sqrt(0.1 x 0.9 x 10000).
    assert abs(fmean(values) - 0.5) < 0.0174
    assert abs(pvariance(values) - 1 / 12) < 0.0045
    assert all(abs(sum(i <= 10 * v < i + 1 for v in values) - 1000) < 180 for i in range(10))


def test_neighbouring_particles_indices_and_seeds_are_not_correlated() -> None:
    count = 4000
    here = [uniform(1, "x", particle, 0) for particle in range(count)]
    next_particle = [uniform(1, "x", particle + 1, 0) for particle in range(count)]
    next_index = [uniform(1, "x", particle, 1) for particle in range(count)]
    next_seed = [uniform(2, "x", particle, 0) for particle in range(count)]
    for other in (next_particle, next_index, next_seed):
        assert abs(correlation(here, other)) < 6 / math.sqrt(count)
