from __future__ import annotations

import pytest

from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.metrics import Metrics
from serviceoptd.contract import RuleContract
from serviceoptd.contract.orders import VLLM_FIELDS
from serviceoptd.domain.objective import judge
from serviceoptd.domain.settings import Budget, Objective, RunSettings, Search, Slo
from serviceoptd.domain.space.space import Space
from serviceoptd.domain.statistics.draws import uniforms
from serviceoptd.rules.interface import Facts, Result
from serviceoptd.rules.surrogate import MOST_POINTS, SurrogateRule, most_telling


class TestSurrogate(RuleContract):
    rule = SurrogateRule


SPACE = Space.of(VLLM_FIELDS)
OBJECTIVE = Objective(slos=(Slo(metric="ttft", limit=1.0),))


def truth(configuration: dict[str, object]) -> Metrics:
    """More sequences are faster up to 200 at a time; the queue in front of them makes requests wait."""
    seqs, concurrency = float(str(configuration["MAX_NUM_SEQS"])), float(str(configuration["CONCURRENCY"]))
    running = min(seqs, concurrency)
    speed = 20.0 * running / (1.0 + (running / 200.0) ** 2)
    ttft = 0.2 + max(0.0, concurrency - seqs) * 0.01
    return Metrics(
        generate_speed=speed, throughput=speed / 100, success_rate=1.0, completed=100, failed=0, duration=10.0,
        ttft={"mean": ttft}, tpot={"mean": running / speed},
    )  # fmt: skip


def results(count: int) -> tuple[Result, ...]:
    found = []
    for number in range(1, count + 1):
        configuration = SPACE.decode(uniforms(3, "test", number, len(SPACE.dimensions)))
        metrics = truth(dict(configuration))
        verdict = judge(metrics, OBJECTIVE)
        found.append(
            Result(number, configuration, metrics, "", verdict.fitness, verdict.feasible, objective=verdict.objective)
        )
    return tuple(found)


def facts(*known: Result, threshold: object = 0.01) -> Facts:
    settings = RunSettings(
        engine="vllm",
        benchmark="vllm_benchmark",
        fields=VLLM_FIELDS,
        objective=OBJECTIVE,
        search=Search(options={"surrogate": {"threshold": threshold}}),
        budget=Budget(evaluations=50),
    )
    return Facts(space=SPACE, settings=settings, results=known)


QUEUEING = {"MAX_NUM_BATCHED_TOKENS": 16384, "MAX_NUM_SEQS": 32, "CONCURRENCY": 900, "REQUESTRATE": 0.0}
GOOD = {"MAX_NUM_BATCHED_TOKENS": 16384, "MAX_NUM_SEQS": 210, "CONCURRENCY": 200, "REQUESTRATE": 0.0}


def test_what_the_results_make_improbable_is_rejected_with_its_prediction() -> None:
    verdict = SurrogateRule().judge(dict(QUEUEING), facts(*results(30)))
    assert verdict is not None
    assert "by 30 results" in verdict.reason
    assert verdict.predicted is not None
    assert verdict.predicted.ttft["mean"] > 1.0
    assert verdict.predicted.generate_speed > 0


def test_what_may_be_the_best_is_measured() -> None:
    assert SurrogateRule().judge(dict(GOOD), facts(*results(30))) is None


def test_few_results_are_no_reason() -> None:
    assert SurrogateRule().judge(dict(QUEUEING), facts(*results(9))) is None
    failures = [Result(n, r.configuration, None, "out of memory", 1.0, False) for n, r in enumerate(results(30), 1)]
    assert SurrogateRule().judge(dict(QUEUEING), facts(*failures)) is None


def test_a_lower_threshold_rejects_no_more() -> None:
    known = results(30)
    asked = [SPACE.decode(uniforms(4, "asked", n, len(SPACE.dimensions))) for n in range(40)]

    def rejected(threshold: float) -> set[int]:
        told = facts(*known, threshold=threshold)
        return {n for n, each in enumerate(asked) if SurrogateRule().judge(dict(each), told)}

    few, many = rejected(1e-6), rejected(0.2)
    assert few < many


@pytest.mark.parametrize("threshold", [0, 1, "low", True])
def test_a_threshold_is_a_probability(threshold: object) -> None:
    with pytest.raises(InvalidConfiguration, match="not a probability"):
        SurrogateRule().judge(dict(GOOD), facts(*results(30), threshold=threshold))


def test_of_many_results_the_models_see_the_best_and_the_latest_and_never_more_of_them() -> None:
    many = results(3 * MOST_POINTS)
    seen = most_telling(many)
    assert len(seen) == MOST_POINTS
    assert seen[-MOST_POINTS // 2 :] == list(many[-MOST_POINTS // 2 :])
    assert min(many, key=lambda result: result.fitness) in seen
    assert [result.particle for result in seen] == sorted(result.particle for result in seen)
    assert most_telling(many[:MOST_POINTS]) == list(many[:MOST_POINTS])
