"""The rule `simulated`, on an invented machine and simulators of it that are right, biased and wrong."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.events import Configuration
from serviceopt_journal.metrics import Metrics
from serviceoptd.contract import RuleContract
from serviceoptd.contract.orders import VLLM_FIELDS
from serviceoptd.domain.objective import judge
from serviceoptd.domain.settings import Budget, Objective, RunSettings, Search, Slo
from serviceoptd.domain.space.space import Space
from serviceoptd.domain.statistics.draws import uniforms
from serviceoptd.rules.interface import Facts, Result
from serviceoptd.rules.simulated import SimulatedRule
from serviceoptd.simulation.advice.simulator import Simulated, Simulator

SPACE = Space.of(VLLM_FIELDS)
OBJECTIVE = Objective(slos=(Slo(metric="ttft", limit=1.0),))
QUEUEING = {"MAX_NUM_BATCHED_TOKENS": 16384, "MAX_NUM_SEQS": 32, "CONCURRENCY": 900, "REQUESTRATE": 0.0}
GOOD = {"MAX_NUM_BATCHED_TOKENS": 16384, "MAX_NUM_SEQS": 210, "CONCURRENCY": 200, "REQUESTRATE": 0.0}


def truth(configuration: Configuration) -> Metrics:
    """More sequences are faster up to 200 at a time; the queue in front of them makes requests wait."""
    seqs, concurrency = float(configuration["MAX_NUM_SEQS"]), float(configuration["CONCURRENCY"])
    running = min(seqs, concurrency)
    speed = 20.0 * running / (1.0 + (running / 200.0) ** 2)
    ttft = 0.2 + max(0.0, concurrency - seqs) * 0.01
    return Metrics(
        generate_speed=speed, throughput=speed / 100, success_rate=1.0, completed=100, failed=0, duration=10.0,
        ttft={"mean": ttft}, tpot={"mean": running / speed},
    )  # fmt: skip


def simulator(*, mirrored: bool = False, times: float = 1.0, beyond: float = 0.0) -> Simulator:
    def simulated(configuration: Configuration, slos: Sequence[Slo]) -> Simulated:
        if mirrored:
            configuration = SPACE.decode([1.0 - x for x in SPACE.encode(configuration)])
        said = truth(configuration)
        slower = Metrics(
            generate_speed=said.generate_speed / times, throughput=said.throughput / times, success_rate=1.0,
            completed=100, failed=0, duration=10.0, ttft={"mean": said.ttft["mean"] * times}, tpot={},
        )  # fmt: skip
        return Simulated(slower, beyond, "outside of what it was trained on" if beyond else "")

    return simulated


def results(count: int) -> tuple[Result, ...]:
    found = []
    for number in range(1, count + 1):
        configuration = SPACE.decode(uniforms(3, "test", number, len(SPACE.dimensions)))
        metrics = truth(configuration)
        verdict = judge(metrics, OBJECTIVE)
        found.append(
            Result(number, configuration, metrics, "", verdict.fitness, verdict.feasible, objective=verdict.objective)
        )
    return tuple(found)


def facts(advisor: Simulator | None, count: int = 10, threshold: object = 0.01) -> Facts:
    settings = RunSettings(
        engine="vllm",
        benchmark="vllm_benchmark",
        fields=VLLM_FIELDS,
        objective=OBJECTIVE,
        search=Search(options={"simulated": {"threshold": threshold}}),
        budget=Budget(evaluations=50),
    )
    return Facts(space=SPACE, settings=settings, results=results(count), simulator=advisor)


class TestSimulated(RuleContract):
    rule = SimulatedRule


class TestSimulatedWithASimulator(RuleContract):
    rule = SimulatedRule

    def facts(self, *known: Result) -> Facts:
        told = super().facts(*known)
        return Facts(space=told.space, settings=told.settings, results=known, simulator=simulator())


@pytest.mark.parametrize("times", [1.0, 1.3])
def test_a_simulator_that_was_right_rejects_what_it_says_is_hopeless_biased_or_not(times: float) -> None:
    verdict = SimulatedRule().judge(QUEUEING, facts(simulator(times=times)))
    assert verdict is not None
    assert "by the simulator, corrected by 10 results" in verdict.reason
    assert verdict.predicted is not None
    assert verdict.predicted.ttft["mean"] == pytest.approx(truth(QUEUEING).ttft["mean"], rel=0.3)
    assert verdict.predicted.generate_speed == pytest.approx(truth(QUEUEING).generate_speed, rel=0.3)
    assert SimulatedRule().judge(GOOD, facts(simulator(times=times))) is None


def test_a_simulator_that_was_wrong_rejects_nothing() -> None:
    told = facts(simulator(mirrored=True), count=20)
    asked = [SPACE.decode(uniforms(4, "asked", n, len(SPACE.dimensions))) for n in range(30)]
    assert not any(SimulatedRule().judge(each, told) for each in asked)


def test_few_results_and_no_simulator_are_no_reason() -> None:
    assert SimulatedRule().judge(QUEUEING, facts(simulator(), count=5)) is None
    assert SimulatedRule().judge(QUEUEING, facts(None)) is None


def test_outside_of_its_training_data_it_speaks_only_near_what_was_measured() -> None:
    lost = facts(simulator(beyond=0.5))
    far = {"MAX_NUM_BATCHED_TOKENS": 1024, "MAX_NUM_SEQS": 20, "CONCURRENCY": 1000, "REQUESTRATE": 0.0}
    assert SimulatedRule().judge(far, facts(simulator())) is not None
    assert SimulatedRule().judge(far, lost) is None
    hopeless = next(r for r in lost.results if r.metrics is not None and r.metrics.ttft["mean"] > 4.0)
    verdict = SimulatedRule().judge(hopeless.configuration, lost)
    assert verdict is not None
    assert verdict.remark == "outside of what it was trained on"


@pytest.mark.parametrize("threshold", [0, 1, "low", True])
def test_a_threshold_is_a_probability(threshold: object) -> None:
    with pytest.raises(InvalidConfiguration, match="rule simulated is not a probability"):
        SimulatedRule().judge(GOOD, facts(simulator(), threshold=threshold))
