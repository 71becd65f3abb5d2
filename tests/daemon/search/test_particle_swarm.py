from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serviceoptd.contract.strategy import MIXED, SMALL, StrategyContract, goodness, play, problem
from serviceoptd.domain.settings import Field
from serviceoptd.domain.space.space import Space
from serviceoptd.domain.statistics.draws import uniforms
from serviceoptd.search.interface import Problem, Strategy, Trial
from serviceoptd.search.particle_swarm import ParticleSwarm
from serviceoptd.search.random_search import RandomSearch

SQUARE = Space.of([Field(name=name, dtype="float", min=0.0, max=1.0) for name in "xy"])
SPHERE = Space.of([Field(name=f"x{i}", dtype="float", min=0.0, max=1.0) for i in range(7)])


class TestSwarmWithConstriction(StrategyContract):
    def make(self, problem: Problem) -> Strategy:
        return ParticleSwarm(problem)


class TestSwarmWithDecreasingInertia(StrategyContract):
    def make(self, problem: Problem) -> Strategy:
        search = problem.search
        return ParticleSwarm(replace(problem, search=type(search)(n_particles=5, iters=4, coefficients="decreasing")))


def test_a_move_is_the_published_velocity_update_with_the_draws_of_its_particle() -> None:
    asked = problem(SQUARE, n_particles=2, current=False)
    swarm = ParticleSwarm(asked)
    first, second, third = (t.proposal for t in play(swarm, SQUARE, 3, fitness=lambda p: -float(p.particle)))
    # Slot 0 has only been at `first`, which is its own best; slot 1's `second` is the best of all.
    draws = uniforms(asked.seed, "swarm move", 3, 4)
    for d in range(2):
        pull = 1.49618 * draws[2 + d] * (second.position[d] - first.position[d])
        assert third.velocity[d] == pytest.approx(max(-0.5, min(0.5, pull)))
        assert third.position[d] == pytest.approx(first.position[d] + third.velocity[d])
    fourth = swarm.ask(4)
    assert fourth is not None
    assert fourth.slot == 1
    swarm.tell(Trial(fourth, fitness=-4.0))
    fifth = swarm.ask(5)
    assert fifth is not None
    draws = uniforms(asked.seed, "swarm move", 5, 4)
    for d in range(2):
        moved = 0.7298 * third.velocity[d] + 1.49618 * draws[2 + d] * (fourth.position[d] - third.position[d])
        assert fifth.velocity[d] == pytest.approx(max(-0.5, min(0.5, moved)))


@given(seed=st.integers(0, 2**32), corner=st.tuples(*[st.sampled_from([0.0, 1.0])] * 2))
@settings(max_examples=40, deadline=None)
def test_velocities_keep_their_limit_and_walls_turn_them_round(seed: int, corner: tuple[float, ...]) -> None:
    asked = problem(SQUARE, seed=seed, current=False, n_particles=3, iters=10)
    trials = play(ParticleSwarm(asked), SQUARE, 30, fitness=lambda p: math.dist(p.position, corner) - 10)
    for trial in trials:
        assert all(abs(speed) <= 0.5 for speed in trial.proposal.velocity)
        assert all(0 <= coordinate <= 1 for coordinate in trial.proposal.position)


def test_a_wall_reflects_the_position_and_halves_the_velocity() -> None:
    asked = problem(SQUARE, n_particles=1, current=False)
    swarm = ParticleSwarm(asked)
    start = swarm.ask(1)
    assert start is not None
    swarm.tell(Trial(replace(start, position=(0.9, 0.1), velocity=(0.5, -0.5)), fitness=-1.0))
    proposal = swarm.ask(2)
    assert proposal is not None
    # Own best and common best are where it is, so only inertia moves it: 0.9 + 0.7298 x 0.5 = 1.2649.
    assert proposal.position == pytest.approx((2 - 1.2649, 0.2649))
    assert proposal.velocity == pytest.approx((-0.18245, 0.18245))


def test_inertia_decreases_over_the_iterations_of_the_budget() -> None:
    asked = problem(SQUARE, n_particles=1, iters=5, current=False, coefficients="decreasing")
    swarm = ParticleSwarm(asked)
    start = swarm.ask(1)
    assert start is not None
    inertia = []
    for particle in range(1, 8):
        at_rest = replace(start, particle=particle, iteration=particle - 1, position=(0.5, 0.5), velocity=(0.1, 0.1))
        swarm.tell(Trial(at_rest, fitness=-1.0))
        moved = swarm.ask(particle + 1)
        assert moved is not None
        inertia.append(moved.velocity[0] / 0.1)
    assert inertia == pytest.approx([0.775, 0.65, 0.525, 0.4, 0.4, 0.4, 0.4])


def test_the_first_iteration_is_a_latin_hypercube() -> None:
    trials = play(ParticleSwarm(problem(SPHERE, n_particles=15, current=False)), SPHERE, 15)
    assert {trial.proposal.origin for trial in trials} == {"initial"}
    for dimension in range(7):
        assert sorted(int(trial.proposal.position[dimension] * 15) for trial in trials) == list(range(15))


def test_each_member_moves_once_before_any_moves_twice() -> None:
    moved = Counter[int]()
    for trial in play(ParticleSwarm(problem(MIXED)), MIXED, 50):
        if not trial.matched:
            moved[trial.proposal.slot] += 1
        assert max(moved.values()) - min(moved[slot] for slot in range(5)) <= 1


def test_a_matched_particle_leaves_its_slot_to_a_new_one() -> None:
    trials = play(ParticleSwarm(problem(SMALL)), SMALL, 60)
    after_matches = [(t.proposal, u.proposal) for t, u in pairwise(trials) if t.matched]
    assert after_matches
    assert all(matched.slot == following.slot for matched, following in after_matches)


def test_a_failure_attracts_nobody_while_something_succeeded() -> None:
    asked = problem(SQUARE, n_particles=2, current=False)
    swarm = ParticleSwarm(asked)
    failed, good = (t.proposal for t in play(swarm, SQUARE, 2, fitness=lambda _: None))
    at_rest = (0.0, 0.0)
    swarm.tell(Trial(replace(failed, position=(0.4, 0.6), velocity=at_rest), fitness=1.0))
    swarm.tell(Trial(replace(good, position=(0.5, 0.5), velocity=at_rest), fitness=0.9))
    third = swarm.ask(3)
    assert third is not None
    draws = uniforms(asked.seed, "swarm move", 3, 4)
    # Both pulls go to what succeeded; the member's own failure is no target.
    assert third.slot == 0
    assert third.velocity == pytest.approx([1.49618 * (draws[d] + draws[2 + d]) * (0.1, -0.1)[d] for d in range(2)])


def test_positions_are_drawn_again_until_something_succeeds() -> None:
    trials = play(ParticleSwarm(problem(SPHERE, n_particles=4, current=False)), SPHERE, 12, fitness=lambda _: 1.0)
    assert {trial.proposal.origin for trial in trials} == {"initial"}
    assert len({trial.proposal.position for trial in trials}) == 12


def test_it_does_not_wait_for_pending_particles() -> None:
    swarm = ParticleSwarm(problem(SPHERE, n_particles=3, current=False))
    trials = play(swarm, SPHERE, 4, fitness=lambda p: goodness(p) if p.particle == 1 else None)
    assert trials[3].proposal.origin == "swarm"


def test_it_comes_much_nearer_to_the_optimum_of_a_sphere_than_random_search() -> None:
    def best(strategy: type[ParticleSwarm] | type[RandomSearch], seed: int) -> float:
        asked = problem(SPHERE, seed=seed, current=False, n_particles=15, iters=10)
        trials = play(strategy(asked), SPHERE, 150)
        return min(goodness(trial.proposal) for trial in trials) + 100

    swarm, random = (sum(best(strategy, seed) for seed in range(10)) / 10 for strategy in (ParticleSwarm, RandomSearch))
    assert swarm < random / 3
