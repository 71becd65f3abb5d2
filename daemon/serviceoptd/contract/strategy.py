"""What every search strategy must do. A strategy's test subclasses `StrategyContract` and gives `strategy`, or `make`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import ClassVar

import pytest

from serviceoptd.domain.settings import Field, Search
from serviceoptd.domain.space.space import Key, Space
from serviceoptd.search.interface import Problem, Proposal, Strategy, Trial

MIXED = Space.of(
    [
        Field(name="seqs", dtype="int", min=32, max=512, value=64),
        Field(name="tokens", dtype="range", min=8192, max=65536, dtype_param=512, value=8192),
        Field(name="memory", dtype="float", min=0.5, max=0.95, value=0.9),
        Field(name="cache", dtype="bool", value=True),
        Field(name="prefill", dtype="ratio", min=0.1, max=0.7, dtype_param="seqs"),
        Field(name="rest", dtype="share", dtype_param="seqs"),
        Field(name="port", dtype="int", constant=8000),
    ]
)
SMALL = Space.of(
    [
        Field(name="block", dtype="enum", dtype_param=[8, 16, 32], value=16),
        Field(name="cache", dtype="bool"),
        Field(name="base", dtype="int", min=1, max=3),
        Field(name="part", dtype="ratio", min=0, max=1, dtype_param="base"),
    ]
)
SINGLE = Space.of([Field(name="port", dtype="int", constant=8000)])


def problem(space: Space, seed: int = 1, current: bool = True, **search: object) -> Problem:
    """The search problem that the strategy is asked to solve."""
    setting = space.current() if current else None
    return Problem(
        space=space,
        seed=seed,
        search=Search(**{"n_particles": 5, "iters": 4} | search),  # type: ignore[arg-type]
        current=None if setting is None else space.encode(setting),
    )


def goodness(proposal: Proposal) -> float:
    """A smooth function of the position, negative as the fitness of what is feasible."""
    return sum((x - 0.3) ** 2 for x in proposal.position) - 100


def play(
    strategy: Strategy,
    space: Space,
    count: int,
    fitness: Callable[[Proposal], float | None] = goodness,
    trials: Sequence[Trial] = (),
) -> list[Trial]:
    """Asks and tells as the daemon does: a known configuration is matched and told its known fitness."""
    played = list(trials)
    known: dict[Key, float | None] = {space.key(t.proposal.configuration): t.fitness for t in played}
    for particle in range(len(played) + 1, count + 1):
        proposal = strategy.ask(particle)
        if proposal is None:
            break
        assert proposal.particle == particle
        key = space.key(proposal.configuration)
        matched = key in known
        trial = Trial(proposal=proposal, fitness=known[key] if matched else fitness(proposal), matched=matched)
        known.setdefault(key, trial.fitness)
        strategy.tell(trial)
        played.append(trial)
    return played


class StrategyContract:
    """The suite of a search strategy, whose class is `strategy`. Where it needs more than the problem, override `make`."""

    strategy: ClassVar[type[Strategy]]

    def make(self, problem: Problem) -> Strategy:
        """The strategy under test."""
        return self.strategy(problem)

    def test_the_first_particle_is_the_current_setting(self) -> None:
        first = self.make(problem(MIXED)).ask(1)
        assert first is not None
        assert first.configuration == MIXED.current()
        assert first.origin == "current-setting"

    def test_positions_lie_in_the_unit_cube_and_give_the_legal_configuration_that_is_proposed(self) -> None:
        for trial in play(self.make(problem(MIXED)), MIXED, 60):
            proposal = trial.proposal
            assert len(proposal.position) == len(proposal.velocity) == len(MIXED.dimensions)
            assert all(0 <= coordinate <= 1 for coordinate in proposal.position)
            assert all(math.isfinite(speed) for speed in proposal.velocity)
            assert MIXED.decode(proposal.position) == proposal.configuration == MIXED.repair(proposal.configuration)

    def test_slots_are_members_of_the_swarm_and_iterations_count_their_moves(self) -> None:
        moves = [0] * 5
        for trial in play(self.make(problem(MIXED)), MIXED, 40):
            assert trial.proposal.iteration == moves[trial.proposal.slot]
            moves[trial.proposal.slot] += 1

    @pytest.mark.parametrize("space", [MIXED, SMALL])
    def test_a_rebuilt_strategy_asks_for_what_the_uninterrupted_one_asked_for(self, space: Space) -> None:
        trials = play(self.make(problem(space)), space, 40)
        for cut in range(0, len(trials), 3):
            rebuilt = self.make(problem(space))
            for trial in trials[:cut]:
                rebuilt.tell(trial)
            asked = rebuilt.ask(cut + 1)
            assert asked == trials[cut].proposal

    def test_asking_changes_nothing(self) -> None:
        strategy = self.make(problem(MIXED))
        trials = play(strategy, MIXED, 12)
        asked = [strategy.ask(13) for _ in range(3)]
        assert asked[0] == asked[1] == asked[2]
        undisturbed = self.make(problem(MIXED))
        for trial in trials:
            undisturbed.tell(trial)
        assert undisturbed.ask(13) == asked[0]

    def test_another_seed_searches_elsewhere(self) -> None:
        one, other = (play(self.make(problem(MIXED, seed=seed, current=False)), MIXED, 5) for seed in (1, 2))
        assert [t.proposal.position for t in one] != [t.proposal.position for t in other]

    @pytest.mark.parametrize("current", [True, False])
    @pytest.mark.parametrize("seed", range(5))
    def test_a_small_space_is_searched_to_the_last_configuration_and_then_ends(self, seed: int, current: bool) -> None:
        strategy = self.make(problem(SMALL, seed=seed, current=current))
        trials = play(strategy, SMALL, 2000)
        fresh = {SMALL.key(trial.proposal.configuration) for trial in trials if not trial.matched}
        assert fresh == {SMALL.key(configuration) for configuration in SMALL.configurations()}
        assert strategy.ask(len(trials) + 1) is None

    def test_a_space_of_one_configuration_is_proposed_once(self) -> None:
        trials = play(self.make(problem(SINGLE)), SINGLE, 100)
        assert [trial.proposal.configuration for trial in trials if not trial.matched] == [{"port": 8000}]

    def test_at_most_five_known_configurations_are_proposed_in_a_row(self) -> None:
        for seed in range(5):
            in_a_row = 0
            for trial in play(self.make(problem(SMALL, seed=seed)), SMALL, 500):
                in_a_row = in_a_row + 1 if trial.matched else 0
                assert in_a_row <= 5

    def test_pending_and_failed_particles_do_not_stop_the_search(self) -> None:
        for outcome in (None, 1.0):
            trials = play(self.make(problem(MIXED)), MIXED, 30, fitness=lambda _, outcome=outcome: outcome)  # type: ignore[misc]
            keys = [MIXED.key(trial.proposal.configuration) for trial in trials if not trial.matched]
            assert len(trials) == 30
            assert len(set(keys)) == len(keys)

    def test_results_that_come_late_are_taken_as_if_they_had_been_there(self) -> None:
        strategy, told_once = self.make(problem(MIXED)), self.make(problem(MIXED))
        pending = play(strategy, MIXED, 8, fitness=lambda _: None)
        for trial in pending:
            finished = Trial(proposal=trial.proposal, fitness=goodness(trial.proposal))
            strategy.tell(finished)
            told_once.tell(finished)
        assert strategy.ask(9) == told_once.ask(9)
