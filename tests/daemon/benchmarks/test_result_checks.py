"""Results that cannot be are not believed where a limit rests on them."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from run_stories import some_metrics
from serviceopt_journal.metrics import Metrics
from serviceoptd.benchmarks.result_checks import believe
from serviceoptd.domain.settings import Objective, Slo
from serviceoptd.toolkit.interface import UnusableResult

TPOT = Objective(slos=(Slo(metric="tpot", statistic="p99", limit=0.05),))
TTFT = Objective(slos=(Slo(metric="ttft", limit=1.0),))
E2EL = Objective(slos=(Slo(metric="e2el", limit=10.0),))
NONE = Objective()


def answered(*, tpot: float, ttft: float, e2el: float, tokens: int | None = 6400) -> Metrics:
    """100 requests in 10 s, of 64 tokens each where nothing else is told."""
    return replace(
        some_metrics(640.0), tpot={"mean": tpot, "p99": tpot}, ttft={"mean": ttft}, e2el={"mean": e2el},
        output_tokens=tokens,
    )  # fmt: skip


IN_ONE_PIECE = [
    answered(tpot=0.0, ttft=0.5999, e2el=0.6),
    answered(tpot=0.0, ttft=0.05, e2el=0.6),  # a parser that gives no times between tokens
    answered(tpot=0.009, ttft=0.5999, e2el=0.6),
    answered(tpot=0.009, ttft=0.6, e2el=0.6, tokens=None),  # the number of tokens follows from their speed
    answered(tpot=0.00002, ttft=0.59, e2el=0.6),
    answered(tpot=0.0002, ttft=0.591, e2el=0.6),
]


@pytest.mark.parametrize("metrics", IN_ONE_PIECE)
def test_an_answer_in_one_piece_is_not_believed_where_the_time_of_a_token_is_limited(metrics: Metrics) -> None:
    with pytest.raises(UnusableResult) as unusable:
        believe(metrics, TPOT)
    assert "64 tokens a request" in str(unusable.value)
    assert unusable.value.metrics == metrics


@pytest.mark.parametrize("objective", [NONE, E2EL])
@pytest.mark.parametrize("metrics", IN_ONE_PIECE)
def test_where_no_limit_rests_on_single_tokens_it_is(metrics: Metrics, objective: Objective) -> None:
    assert believe(metrics, objective) == metrics


def test_a_time_to_the_first_token_that_is_the_last_one_s_is_no_time_to_the_first_token() -> None:
    with pytest.raises(UnusableResult, match="ttft"):
        believe(answered(tpot=0.009, ttft=0.6, e2el=0.6), TTFT)


@pytest.mark.parametrize("objective", [TPOT, TTFT])
@pytest.mark.parametrize(
    "metrics",
    [
        answered(tpot=0.009, ttft=0.05, e2el=0.6),
        answered(tpot=0.0, ttft=0.3, e2el=0.3, tokens=100),  # one token a request: there is no second one
        answered(tpot=0.02, ttft=60.0, e2el=60.18, tokens=1000),  # a long prompt and a short answer
        answered(tpot=0.001, ttft=0.02, e2el=0.083),  # a small model
    ],
)
def test_a_result_that_can_be_is_believed(metrics: Metrics, objective: Objective) -> None:
    assert believe(metrics, objective) == metrics


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"mean": 0.009, "p50": 0.009, "p99": 0.0}, r"p99 tpot \(0 ms\) is below its p50 \(9 ms\)"),
        ({"mean": 0.009, "p90": 0.012, "p99": 0.010}, r"p99 tpot \(10 ms\) is below its p90"),
        ({"mean": 0.009, "p99": 0.010, "max": 0.008}, r"max tpot \(8 ms\) is below its p99"),
        ({"mean": 0.020, "max": 0.012, "p99": 0.011}, r"mean tpot \(20 ms\) is above its max"),
        ({"mean": 0.001, "min": 0.008, "p99": 0.011}, r"mean tpot \(1 ms\) is below its min"),
        ({"mean": 0.009, "p99": 0.00001}, "p99 tpot is 0.01 ms with 64 tokens a request"),
    ],
)
def test_statistics_that_contradict_each_other_are_not_believed_where_a_limit_rests_on_them(
    told: dict[str, float], said: str
) -> None:
    metrics = replace(answered(tpot=0.009, ttft=0.05, e2el=0.6), tpot=told)
    with pytest.raises(UnusableResult, match=said):
        believe(metrics, TPOT)
    assert believe(metrics, E2EL) == metrics


@pytest.mark.parametrize("objective", [TTFT, E2EL])
def test_an_answer_that_ends_before_its_first_token_is_not_believed(objective: Objective) -> None:
    with pytest.raises(UnusableResult, match="ttft"):
        believe(answered(tpot=0.009, ttft=0.9, e2el=0.6), objective)


def test_statistics_that_are_rounded_differ_a_little() -> None:
    told = {"mean": 0.009, "p50": 0.009, "p90": 0.00899, "p99": 0.00895, "max": 0.00895}
    metrics = replace(answered(tpot=0.009, ttft=0.05, e2el=0.6), tpot=told)
    assert believe(metrics, TPOT) == metrics
