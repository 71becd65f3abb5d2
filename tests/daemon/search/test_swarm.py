from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise

import pytest

from serviceopt_journal.events import Configuration
from serviceoptd.contract.strategy import StrategyContract
from serviceoptd.domain.objective import judge
from serviceoptd.domain.settings import Field, Objective, Search, Slo
from serviceoptd.domain.space.space import Space
from serviceoptd.search.interface import Costs, Problem, Strategy, Trial
from serviceoptd.search.random_search import RandomSearch
from serviceoptd.search.swarm import FIRST_POINTS, Swarm
from serviceoptd.simulation.demonstration.client import sampled_metrics
from serviceoptd.simulation.demonstration.engine import Load, Machine, Setting, Workload, refused_launch

SERVING = Space.of(
    [
        Field(name="MAX_NUM_SEQS", dtype="int", min=8, max=512, value=256),
        Field(name="MAX_NUM_BATCHED_TOKENS", dtype="int", min=256, max=16384, value=8192),
        Field(name="gpu_memory_utilization", dtype="float", min=0.5, max=0.98, value=0.9),
        Field(name="CONCURRENCY", dtype="int", min=4, max=1000, load=True, value=64),
        Field(name="REQUESTRATE", dtype="float", min=0.5, max=60.0, load=True, value=5.0),
    ]
)
OBJECTIVE = Objective(slos=(Slo(metric="ttft", limit=1.5), Slo(metric="tpot", limit=0.06)))
NAMES = {name.casefold(): name for name in ("MAX_NUM_SEQS", "MAX_NUM_BATCHED_TOKENS", "gpu_memory_utilization")}


def serving(**changes: object) -> Problem:
    current = SERVING.current()
    assert current is not None
    asked = Problem(
        space=SERVING,
        seed=3,
        search=Search(n_particles=5, iters=5),
        current=SERVING.encode(current),
        objective=OBJECTIVE,
    )
    return replace(asked, **changes)  # type: ignore[arg-type]


def measured(configuration: Configuration, particle: int) -> tuple[object, str]:
    setting = Setting(**{key: configuration[name] for key, name in NAMES.items()})  # type: ignore[arg-type]
    if why := refused_launch(Machine(), setting):
        return None, why
    load = Load(int(configuration["CONCURRENCY"]), float(configuration["REQUESTRATE"]))
    return sampled_metrics(Machine(), setting, Workload(), load, OBJECTIVE.slos, (1, particle, 1)), ""


def served(make: Callable[[Problem], Strategy], asked: Problem, count: int) -> list[Trial]:
    """Evaluations as the daemon makes them: a strategy rebuilt for each, with the service that is running."""
    trials: list[Trial] = []
    running: Mapping[str, object] | None = None
    for particle in range(1, count + 1):
        strategy = make(replace(asked, running=running))  # type: ignore[arg-type]
        for trial in trials:
            strategy.tell(trial)
        proposal = strategy.ask(particle)
        assert proposal is not None
        metrics, failure = measured(proposal.configuration, particle)
        judgement = judge(metrics, OBJECTIVE)  # type: ignore[arg-type]
        running = proposal.configuration if metrics else None
        trials.append(
            Trial(
                proposal=proposal, fitness=judgement.fitness, metrics=metrics, objective=judgement.objective,  # type: ignore[arg-type]
                failure=failure,
            )
        )  # fmt: skip
    return trials


def best(trials: list[Trial]) -> float:
    return -min(trial.fitness for trial in trials if trial.fitness is not None)


class TestSwarm(StrategyContract):
    strategy = Swarm


@pytest.fixture(scope="module")
def run() -> list[Trial]:
    return served(Swarm, serving(), 20)


def test_every_configuration_is_new_and_the_models_say_what_they_expect_of_it(run: list[Trial]) -> None:
    assert len({SERVING.key(trial.proposal.configuration) for trial in run}) == len(run)
    for trial in run[FIRST_POINTS:]:
        predicted = trial.proposal.predicted
        assert predicted is not None
        assert predicted.metrics is not None
        assert 0 <= predicted.probability_feasible <= 1
        assert predicted.metrics.ttft["mean"] > 0
        assert predicted.metrics.tpot["mean"] > 0
    assert all(trial.proposal.predicted is None for trial in run[:FIRST_POINTS])


def test_what_it_expects_is_what_is_measured_once_it_has_learnt(run: list[Trial]) -> None:
    errors = [
        abs(math.log(trial.metrics.generate_speed / trial.proposal.predicted.metrics.generate_speed))
        for trial in run[12:]
        if trial.metrics and trial.proposal.predicted and trial.proposal.predicted.metrics
    ]
    assert sorted(errors)[len(errors) // 2] < 0.1


def test_it_finds_more_than_random_search_in_half_of_the_evaluations(run: list[Trial]) -> None:
    assert best(run[:15]) > best(served(RandomSearch, serving(), 30))


def test_a_rebuilt_strategy_asks_for_the_same_with_all_that_the_models_say(run: list[Trial]) -> None:
    for cut in (3, 9, 15):
        before = run[cut - 1]
        running = before.proposal.configuration if before.metrics else None
        rebuilt = Swarm(serving(running=running))
        for trial in run[:cut]:
            rebuilt.tell(trial)
        assert rebuilt.ask(cut + 1) == run[cut].proposal


def test_a_service_is_measured_at_other_loads_before_another_is_launched_but_not_for_ever(run: list[Trial]) -> None:
    in_a_row, longest = 1, 1
    for before, after in pairwise(run):
        same = SERVING.service_key(before.proposal.configuration) == SERVING.service_key(after.proposal.configuration)
        in_a_row = in_a_row + 1 if same else 1
        longest = max(longest, in_a_row)
    assert 1 < longest <= Search().loads_per_launch


def test_with_one_load_per_launch_every_evaluation_is_a_launch() -> None:
    trials = served(Swarm, serving(search=Search(n_particles=5, iters=5, loads_per_launch=1)), 14)
    keys = [SERVING.service_key(trial.proposal.configuration) for trial in trials]
    assert all(one != other for one, other in pairwise(keys[FIRST_POINTS:]))


def test_where_requests_are_counted_and_not_minutes_it_measures_what_is_quick() -> None:
    """1,000 requests of 256 tokens: an hour at a low load, minutes at a high one."""

    def minutes(costs: Costs) -> float:
        runs = [served(Swarm, serving(costs=costs, seed=seed), 8) for seed in (3, 4, 5)]
        return sum(256_000 / trial.objective / 60 for trials in runs for trial in trials if trial.objective)

    assert minutes(Costs(launch=180, measurement=10, tokens=256_000)) < 0.8 * minutes(Costs())


def test_the_best_of_an_earlier_run_comes_second_and_its_points_teach_the_models(run: list[Trial]) -> None:
    asked = serving(history=tuple(run), seed=11)
    strategy = Swarm(asked)
    first = strategy.ask(1)
    assert first is not None
    assert first.origin == "current-setting"
    strategy.tell(Trial(proposal=first, fitness=run[0].fitness, matched=True, metrics=run[0].metrics,
                        objective=run[0].objective))  # fmt: skip
    second = strategy.ask(2)
    assert second is not None
    assert second.origin == "warm-start"
    champion = min(run, key=lambda trial: trial.fitness if trial.fitness is not None else 1.0)
    assert second.configuration == champion.proposal.configuration
    strategy.tell(Trial(proposal=second, fitness=champion.fitness, matched=True, metrics=champion.metrics,
                        objective=champion.objective))  # fmt: skip
    third = strategy.ask(3)
    assert third is not None
    assert third.predicted is not None
    assert SERVING.key(third.configuration) not in {SERVING.key(t.proposal.configuration) for t in run[:1]}


def test_advice_from_a_similar_run_is_measured_before_anything_else() -> None:
    advised = SERVING.encode(SERVING.repair({"MAX_NUM_SEQS": 96, "CONCURRENCY": 80}))
    trials = served(Swarm, serving(advised=(advised,)), 3)
    assert [trial.proposal.origin for trial in trials] == ["current-setting", "warm-start", "initial"]
    assert trials[1].proposal.configuration == SERVING.decode(advised)


def test_while_nothing_has_started_it_goes_on_looking_elsewhere() -> None:
    asked = serving(current=None)
    trials: list[Trial] = []
    for particle in range(1, 9):
        strategy = Swarm(asked)
        for trial in trials:
            strategy.tell(trial)
        proposal = strategy.ask(particle)
        assert proposal is not None
        trials.append(Trial(proposal=proposal, fitness=1.0, failure="out of memory"))
    seqs = [float(trial.proposal.configuration["MAX_NUM_SEQS"]) for trial in trials]
    assert max(seqs) / min(seqs) > 4


def test_listing_the_strategies_and_rules_imports_no_numerical_library() -> None:
    code = (
        "import sys; from serviceoptd.config.plugins import installed; found = installed(); "
        "assert 'swarm' in found.strategy_names and 'surrogate' in found.rule_names; assert not found.complaints(); "
        "print(sorted({'numpy', 'scipy', 'optuna'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
