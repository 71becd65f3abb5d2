from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.metrics import Metrics
from serviceoptd.domain.objective import aggregate, judge, missing_statistics, parse_slo, rank
from serviceoptd.domain.settings import Objective, Slo, SoftFormula
from serviceoptd.domain.soft_cost import FAILED_COST

TTFT = Slo(metric="ttft", statistic="p99", limit=1.5)
TPOT = Slo(metric="tpot", limit=0.05)
STRICT = Objective(slos=(TTFT, TPOT))
SOFT = msgspec.structs.replace(
    STRICT, success_rate=1.0, soft=SoftFormula(ttft_penalty=1, tpot_penalty=2, success_rate_penalty=5)
)


def measured(**changes: Any) -> Metrics:
    metrics = Metrics(
        generate_speed=1000.0,
        throughput=5.0,
        success_rate=1.0,
        completed=100,
        failed=0,
        duration=20.0,
        ttft={"mean": 0.5, "p99": 1.0},
        tpot={"mean": 0.02, "p99": 0.03},
    )
    return msgspec.structs.replace(metrics, **changes)


positive = st.floats(0, 1e308)
anything = st.builds(
    measured,
    generate_speed=positive,
    success_rate=st.floats(0, 1),
    ttft=st.fixed_dictionaries({"mean": positive, "p99": positive}),
    tpot=st.fixed_dictionaries({"mean": positive}),
) | st.builds(
    measured,
    generate_speed=st.sampled_from([0.0, 1.0, 2.0]),
    ttft=st.sampled_from([{"mean": 1.0, "p99": 1.5}, {"mean": 1.0, "p99": math.nextafter(1.5, 2)}, {"mean": 1.0}]),
)


@given(one=anything | st.none(), other=anything | st.none())
def test_fitness_orders_as_feasible_then_objective_then_violation(one: Metrics | None, other: Metrics | None) -> None:
    a, b = judge(one, STRICT), judge(other, STRICT)
    assert math.isfinite(a.fitness)
    if a.objective is None or b.objective is None:
        assert (a.fitness <= b.fitness) == (a.objective is not None or b.objective is None)
    elif a.feasible != b.feasible:
        assert (a.fitness < b.fitness) == a.feasible
    elif a.feasible:
        assert (a.fitness < b.fitness) == (a.objective > b.objective)
    elif a.violation <= b.violation:
        assert a.fitness <= b.fitness
        assert a.fitness < b.fitness or b.violation <= a.violation * (1 + 1e-9) or a.violation > 1e7
    assert (rank([a, b])[0] == 0) or b.fitness <= a.fitness


@given(metrics=anything)
def test_fitness_tells_feasible_infeasible_and_failed_apart(metrics: Metrics) -> None:
    judgement = judge(metrics, STRICT)
    if judgement.objective is None:
        assert judgement.fitness == 1.0
    elif judgement.feasible:
        assert judgement.fitness == -metrics.generate_speed
        assert judgement.violation == 0
        assert judgement.broken == ()
    else:
        assert 0 < judgement.fitness < 1
        assert judgement.violation > 0
        assert judgement.broken


def test_exactly_at_the_limit_is_kept_and_the_next_float_is_not() -> None:
    assert judge(measured(ttft={"p99": 1.5}), STRICT).feasible
    beyond = judge(measured(ttft={"p99": math.nextafter(1.5, 2)}), STRICT)
    assert not beyond.feasible
    assert beyond.fitness > 0


def test_a_broken_objective_is_named_with_what_was_measured_and_allowed() -> None:
    judgement = judge(measured(ttft={"p99": 1.62}, tpot={"mean": 0.051}, success_rate=0.95), STRICT)
    assert judgement.broken == (
        "p99 TTFT 1.62 s > 1.5 s",
        "mean TPOT 0.051 s > 0.05 s",
        "success rate 0.95 < 0.99",
    )
    assert judgement.violation == pytest.approx(0.12 / 1.5 + 0.001 / 0.05 + 0.04 / 0.99)
    assert judge(measured(ttft={"p99": 1.5000001}), STRICT).broken == ("p99 TTFT 1.5000001 s > 1.5 s",)


def test_the_objective_is_what_the_user_maximises_per_device_where_asked() -> None:
    assert judge(measured(), STRICT, devices=4).objective == 1000
    per_device = msgspec.structs.replace(STRICT, per_device=True, maximise="throughput")
    assert judge(measured(), per_device, devices=4).objective == 1.25
    goodput = msgspec.structs.replace(STRICT, maximise="goodput")
    assert judge(measured(goodput=3.0), goodput).fitness == -3.0


@pytest.mark.parametrize(
    ("metrics", "objective", "missing"),
    [
        (measured(ttft={"mean": 0.5}), STRICT, ("p99 TTFT",)),
        (measured(tpot={"mean": math.nan}), STRICT, ("mean TPOT",)),
        (measured(generate_speed=math.inf), STRICT, ("generate_speed",)),
        (measured(success_rate=math.nan), STRICT, ("success_rate",)),
        (measured(generate_speed=-1.0), STRICT, ("generate_speed",)),
        (measured(), Objective(maximise="goodput"), ("goodput",)),
        (measured(), Objective(slos=(Slo(metric="e2el", limit=9),)), ("mean end-to-end latency",)),
        (measured(ttft={"p99": 1.0}), SOFT, ("mean TTFT",)),
        (measured(ttft={"median": 1.0}), Objective(slos=(Slo(metric="ttft", statistic="p50", limit=9),)), ()),
        (measured(), STRICT, ()),
    ],
)
def test_what_the_objective_needs_and_the_metrics_lack_is_named(
    metrics: Metrics, objective: Objective, missing: tuple[str, ...]
) -> None:
    assert missing_statistics(metrics, objective) == missing
    judgement = judge(metrics, objective)
    assert (judgement.objective is None) == bool(missing)
    assert judgement.broken == tuple(f"{name} was not measured" for name in missing)


def test_the_soft_cost_is_the_predecessors_formula() -> None:
    metrics = measured(generate_speed=2650.0, ttft={"mean": 3.0, "p99": 9.0}, tpot={"mean": 0.1}, success_rate=0.5)
    judgement = judge(metrics, SOFT)
    expected = 0.4 * 2 + 0.2 * math.exp(1) + 0.3 * math.exp(2) + 0.1 * math.exp(5)
    assert judgement.fitness == pytest.approx(expected)
    assert not judgement.feasible
    assert len(judgement.broken) == 3


def test_a_latency_whose_penalty_is_0_does_not_cost() -> None:
    free = SoftFormula(ttft_penalty=0, tpot_penalty=0, success_rate_penalty=5)
    metrics = measured(generate_speed=5300.0, ttft={"p99": 9.0}, tpot={"mean": 5.0})
    assert judge(metrics, msgspec.structs.replace(SOFT, soft=free)).fitness == pytest.approx(0.5)


@given(metrics=anything)
def test_the_soft_cost_is_finite_and_below_that_of_a_failure(metrics: Metrics) -> None:
    judgement = judge(metrics, SOFT)
    assert 0 < judgement.fitness <= FAILED_COST
    assert (judgement.fitness == FAILED_COST) == (judgement.objective is None)
    assert judgement.feasible == judge(metrics, msgspec.structs.replace(SOFT, soft=None)).feasible


def test_the_ranking_puts_feasible_first_then_small_violations_then_failures() -> None:
    judgements = [
        judge(None, STRICT),
        judge(measured(ttft={"p99": 3.0}, generate_speed=9e9), STRICT),
        judge(measured(generate_speed=10.0), STRICT),
        judge(measured(ttft={"p99": 1.6}), STRICT),
        judge(measured(generate_speed=20.0), STRICT),
    ]
    assert rank(judgements) == [4, 2, 3, 1, 0]


@pytest.mark.parametrize(
    ("text", "statistic", "limit"),
    [
        (1.5, "mean", 1.5),
        (2, "mean", 2.0),
        ("0.05", "mean", 0.05),
        ("mean:2", "mean", 2.0),
        (" P99 : 1.5 ", "p99", 1.5),
        ("p99.9:100", "p99.9", 100.0),
        ("median:1", "p50", 1.0),
        ("max:3", "max", 3.0),
    ],
)
def test_an_slo_is_a_number_or_statistic_and_number(text: str | float, statistic: str, limit: float) -> None:
    assert parse_slo(text, "ttft") == Slo(metric="ttft", statistic=statistic, limit=limit)


@pytest.mark.parametrize(
    "text", [0, -1, 101, math.nan, math.inf, True, "", "fast", "p99", "p99:", "p100:1", "p0:1", "p:1", "q9:1", ":1"]
)
def test_a_wrong_slo_is_answered_with_what_is_allowed(text: str | float) -> None:
    with pytest.raises(InvalidConfiguration) as caught:
        parse_slo(text, "tpot")
    assert "TPOT" in caught.value.message
    assert "p99:1.5" in caught.value.hint


def test_repeats_are_aggregated_by_the_median_of_each_number() -> None:
    together = aggregate(
        [
            measured(generate_speed=speed, completed=done, ttft={"mean": mean, extra: 1.0}, goodput=good)
            for speed, done, mean, extra, good in [
                (1.0, 100, 0.3, "p99", 1.0),
                (9.0, 97, 0.1, "p99", None),
                (2.0, 98, 0.2, "p95", 3.0),
            ]
        ]
    )
    assert together.generate_speed == 2.0
    assert together.completed == 98
    assert together.ttft == {"mean": 0.2}
    assert together.goodput is None
    assert together.throughput == 5.0


def test_one_measurement_stays_as_it_is_and_none_cannot_be_aggregated() -> None:
    assert aggregate([measured()]) == measured()
    with pytest.raises(ValueError, match="nothing"):
        aggregate([])
