"""When a measurement may be ended: what is certain, what is likely, and how often that is wrong."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as replaced

from bench.early_stopping import Observed, Setting, questions
from bench.simulated_measurements import SCENARIOS, measured
from run_stories import Story, some_metrics, some_settings
from serviceopt_journal import events as e
from serviceoptd.domain.objective import Judgement
from serviceoptd.domain.settings import Objective, Slo
from serviceoptd.domain.statistics.batch_means import steady, student_quantile
from serviceoptd.domain.stopping.client_ratios import Agreement
from serviceoptd.domain.stopping.early_stopping import Stakes, Verdict, verdict
from serviceoptd.domain.stopping.service_counters import Counters, Distribution, observed

FEASIBLE = Judgement(feasible=True, violation=0.0, objective=100.0, fitness=-100.0)
EDGES = (0.1, 0.5, 1.0, 2.0, math.inf)


def histogram(values: list[float]) -> Distribution:
    return Distribution(len(values), sum(values), tuple((edge, sum(v <= edge for v in values)) for edge in EDGES))


def look(time: float, ttft: list[float], *, finished: int = 0, tokens: float = 0.0) -> Counters:
    return Counters(time=time, latencies={"ttft": histogram(ttft)}, tokens=tokens, finished=finished, in_flight=4)


def stakes(slo: Slo, *, best: Judgement | None = FEASIBLE, requests: int = 100, ratio: float = 1.0) -> Stakes:
    """The client's TTFT has been `ratio` times the service's."""
    pair = (some_metrics(ttft=0.5 * ratio), some_metrics(ttft=0.5))
    return Stakes(
        objective=Objective(slos=(slo,)), requests=requests, concurrency=4, best=best, devices=1,
        agreement=Agreement((pair,) * 3), error_rate=0.05, precision=0.03,
    )  # fmt: skip


MEAN, P90 = Slo(metric="ttft", limit=1.0), Slo(metric="ttft", statistic="p90", limit=1.0)


def test_a_mean_is_missed_for_certain_once_what_is_known_of_it_is_too_much() -> None:
    looks = [look(0.0, []), look(2.0, [20.0] * 5)]
    assert verdict(looks, stakes(MEAN)) is None  # 100 s, and 100 requests of which the rest might be answered at once
    looks.append(look(4.0, [20.0] * 6))
    found = verdict(looks, stakes(MEAN))
    assert found is not None
    assert (found.kind, found.statistic, found.bound) == ("hopeless", "ttft mean", 1.2)


def test_a_percentile_is_missed_for_certain_once_too_many_requests_are_slow() -> None:
    assert verdict([look(0.0, []), look(2.0, [1.5] * 10)], stakes(P90)) is None
    found = verdict([look(0.0, []), look(2.0, [1.5] * 11)], stakes(P90))
    assert found is not None
    assert (found.statistic, found.bound) == ("ttft p90", 1.0)


def test_requests_in_the_bucket_that_holds_the_limit_are_not_known_to_be_slow() -> None:
    inside = Slo(metric="ttft", statistic="p90", limit=1.2)
    assert verdict([look(0.0, []), look(2.0, [1.5] * 50)], stakes(inside)) is None


@given(st.lists(st.floats(0.0, 50.0), min_size=1, max_size=60), st.floats(0.1, 20.0), st.integers(0, 60))
def test_what_is_certain_never_errs(values: list[float], limit: float, seen: int) -> None:
    looks = [look(0.0, []), look(2.0, values[:seen])]
    ordered = sorted(values)
    for slo in (Slo(metric="ttft", limit=limit), Slo(metric="ttft", statistic="p90", limit=limit)):
        if verdict(looks, stakes(slo, requests=len(values))):
            lower_rank = ordered[math.floor((len(values) - 1) * 0.9)]
            final = sum(values) / len(values) if slo.statistic == "mean" else lower_rank
            assert final > limit * (1 - 1e-9)


def failed(time: float, finished: int, failed: int, *, preemptions: float | None = None) -> Counters:
    return replace(look(time, [0.1] * finished, finished=finished), failed=failed, preemptions=preemptions)


def test_a_success_rate_is_missed_for_certain_once_more_failed_than_may() -> None:
    assert verdict([failed(0.0, 0, 0), failed(2.0, 5, 1)], stakes(MEAN)) is None
    found = verdict([failed(0.0, 0, 0), failed(2.0, 6, 2)], stakes(MEAN))
    assert found is not None
    assert (found.kind, found.statistic, found.bound) == ("hopeless", "success_rate", 0.98)
    assert "2 of them failed, the success rate will be below 0.98, and at least 0.99 is required" in found.reason
    assert found.metrics.failed == 2


def test_a_client_that_sends_failed_requests_again_is_believed() -> None:
    again = Agreement(((replaced(some_metrics(), failed=1), replaced(some_metrics(), failed=4)),) * 3)
    looks = [failed(0.0, 0, 0), failed(2.0, 9, 4)]
    assert verdict(looks, stakes(MEAN)) is not None
    assert verdict(looks, replace(stakes(MEAN), agreement=again)) is None


def test_failures_that_go_on_are_told_before_more_have_failed_than_may() -> None:
    lenient = replace(stakes(MEAN), objective=Objective(slos=(MEAN,), success_rate=0.8), requests=400)
    looks = [failed(step, 4 * step, 2 * step) for step in range(51)]
    ended = next(number for number in range(2, 52) if verdict(looks[:number], lenient))
    assert looks[ended - 1].failed < 80


def test_preemptions_are_told_with_what_was_observed_and_end_nothing() -> None:
    calm = [failed(0.0, 0, 0, preemptions=0), failed(2.0, 9, 0, preemptions=5000)]
    assert verdict(calm, stakes(MEAN)) is None
    found = verdict([failed(0.0, 0, 0, preemptions=3), failed(2.0, 9, 4, preemptions=45)], stakes(MEAN))
    assert found is not None
    assert "(42 preemptions)" in found.reason
    assert found.metrics.preemptions == 42
    unknown = verdict([failed(0.0, 0, 0), failed(2.0, 9, 4)], stakes(MEAN))
    assert unknown is not None
    assert unknown.metrics.preemptions is None


def test_while_nothing_is_feasible_what_may_miss_the_limits_by_less_goes_on() -> None:
    looks = [look(0.0, []), look(2.0, [20.0] * 6)]
    missing_by = Judgement(feasible=False, violation=0.5, objective=90.0, fitness=0.3)
    assert verdict(looks, stakes(MEAN, best=missing_by)) is None
    looks.append(look(4.0, [20.0] * 8))
    assert verdict(looks, stakes(MEAN, best=missing_by)) is not None


def test_without_a_best_or_three_complete_measurements_nothing_is_ended() -> None:
    looks = [look(0.0, []), look(2.0, [20.0] * 50)]
    assert verdict(looks, stakes(MEAN, best=None)) is None
    few = stakes(MEAN)
    assert verdict(looks, replace(few, agreement=Agreement(few.agreement.pairs[:2]))) is None
    assert verdict(looks, few) is not None


def test_a_client_that_reports_less_than_the_service_is_believed() -> None:
    looks = [look(0.0, []), look(2.0, [20.0] * 6)]
    assert verdict(looks, stakes(MEAN, ratio=0.5)) is None
    assert verdict([*looks, look(4.0, [20.0] * 11)], stakes(MEAN, ratio=0.5)) is not None
    assert verdict(looks, stakes(MEAN, ratio=3.0)) is not None


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_error_rate_is_at_most_what_is_stated(scenario: object) -> None:
    wrong: dict[str, list[int]] = {}
    for seed in range(2):
        for kind, tally in questions(Observed(measured(scenario, 1000 + seed)), Setting()):  # type: ignore[arg-type]
            wrong.setdefault(kind, []).append(tally.wrong)
    # Seeds are fixed; the bench has the rates. Of six decisions that were hard to make one may be wrong.
    assert all(sum(found) <= 1 for found in wrong.values()), wrong


def test_most_of_what_misses_a_limit_by_far_is_ended_long_before_its_end() -> None:
    seen = Observed(measured(SCENARIOS[0], 7))
    slo = Slo(metric="ttft", limit=seen.final.ttft["mean"] / 2)
    found = seen.ended(seen.stakes(Setting(), slo, best=0.0))
    assert found is not None
    assert found[1] > 0.3


def test_batches_of_a_process_without_noise_leave_no_doubt() -> None:
    found = steady([(float(i), 2.0 * i) for i in range(40)])
    assert found is not None
    assert found.low(10.0, 0.01) == pytest.approx(2.0)
    assert found.high(10.0, 0.01) == pytest.approx(2.0)


def test_a_process_that_gets_faster_may_go_on_doing_so() -> None:
    slowing = [(float(i), 40.0 * i - 0.4 * i**2) for i in range(40)]  # 40 at first, 8 at last
    found = steady(slowing)
    assert found is None or found.low(40.0, 0.01) < 8.0


def test_too_few_windows_tell_nothing() -> None:
    assert steady([(float(i), float(i % 3)) for i in range(10)]) is None


@pytest.mark.parametrize(
    ("probability", "degrees", "true"),
    [(0.975, 7, 2.3646), (0.999, 7, 4.7853), (0.9982, 15, 3.465), (0.95, 11, 1.7959)],
)
def test_quantiles_are_those_of_the_tables(probability: float, degrees: int, true: float) -> None:
    assert student_quantile(probability, degrees) == pytest.approx(true, rel=0.03)


def test_quantiles_are_interpolated_within_their_bucket() -> None:
    found = histogram([0.2] * 50 + [0.7] * 50)
    assert found.quantile(0.75) == pytest.approx(0.75)
    assert found.above(0.5) == 50
    assert found.above(0.4) == 50
    assert found.above(0.6) == 0
    counted = Counters(time=10.0, latencies={"ttft": found}, tokens=500.0, finished=100.0, in_flight=0.0, failed=2.0)
    metrics = observed(counted, Objective(slos=(P90,)))
    assert (metrics.generate_speed, metrics.completed, metrics.failed, metrics.success_rate) == (50.0, 98, 2, 0.98)
    assert metrics.ttft == {"mean": pytest.approx(0.45), "p90": pytest.approx(0.9)}


def rejected(statistic: str, bound: float) -> e.MeasurementRejected:
    return e.MeasurementRejected(
        run=1, particle=1, evaluation=1, measurement=1, attempt=1, rule="early-stopping", reason="ended early",
        observed=some_metrics(800.0, ttft=0.9), statistic=statistic, bound=bound, seconds=12.0,
    )  # fmt: skip


def story_of(*last: e.Event) -> Story:
    story = Story(some_settings())
    story.tell(
        e.ParticleProposed(
            run=1, particle=1, slot=0, iteration=0, position=(0.5, 0.5, 0.5), velocity=(0.0, 0.0, 0.0),
            configuration={"MAX_NUM_SEQS": 64, "MAX_NUM_BATCHED_TOKENS": 8192, "CONCURRENCY": 100}, strategy="random",
            origin="random",
        ),
        e.ServiceLaunching(run=1, particle=1, evaluation=1, attempt=1, launch_id="l"),
        e.ServiceReady(run=1, evaluation=1, attempt=1, waited=1.0),
        e.MeasurementStarted(
            run=1, particle=1, evaluation=1, measurement=1, attempt=1, launch_id="c", concurrency=100,
            request_rate=None, num_prompts=100, seed=1,
        ),
        *last,
    )  # fmt: skip
    return story


def test_a_hopeless_one_is_infeasible_by_at_least_its_bound_and_never_the_best() -> None:
    run = story_of(rejected("ttft mean", 1.7)).run
    judgement = run.judgement(run.particles[1])
    assert not judgement.feasible
    assert judgement.violation == pytest.approx(0.7)
    assert run.best() is None
    assert run.particles[1].censored is not None
    assert run.particles[1].seconds > 12.0
    assert run.evaluations[1].measuring is None


def test_a_beaten_one_is_worth_at_most_its_bound_and_never_the_best() -> None:
    run = story_of(rejected("generate_speed", 700.0)).run
    judgement = run.judgement(run.particles[1])
    assert judgement.objective == 700.0
    assert run.best() is None


def test_one_that_was_to_miss_the_success_rate_is_never_feasible() -> None:
    story = story_of(rejected("success_rate", 0.9))
    assert story.run.judgement(story.run.particles[1]).violation == pytest.approx(0.09 / 0.99)
    lower = {"objective": {"slos": [{"metric": "ttft", "limit": 5.0}], "success_rate": 0.5}}
    run = story.tell(e.RunReconfigured(run=1, changes=lower))
    assert not run.judgement(run.particles[1]).feasible


def test_a_hopeless_one_stays_infeasible_when_its_limit_is_raised() -> None:
    story = story_of(rejected("ttft mean", 1.7))
    raised = {"objective": {"slos": [{"metric": "ttft", "limit": 5.0}]}}
    run = story.tell(e.RunReconfigured(run=1, changes=raised))
    judgement = run.judgement(run.particles[1])
    assert not judgement.feasible
    assert judgement.objective is None


def test_only_complete_measurements_tell_how_client_and_service_agree() -> None:
    done = e.MeasurementFinished(
        run=1, particle=1, evaluation=1, measurement=1, attempt=1, metrics=some_metrics(), seconds=5.0,
        served=some_metrics(990.0),
    )  # fmt: skip
    assert story_of(done).run.served == ((some_metrics(), some_metrics(990.0)),)
    assert story_of(e.MeasurementFinished(**{**_fields(done), "observed_by": "metrics"})).run.served == ()


def _fields(event: e.MeasurementFinished) -> dict[str, object]:
    return {name: getattr(event, name) for name in event.__struct_fields__}


def test_a_verdict_converges_only_where_no_request_ever_failed() -> None:
    scenario = next(s for s in SCENARIOS if s.name == "long and steady")
    seen = Observed(measured(scenario, 3))
    asked = replace(seen.stakes(Setting(), MEAN), best=None)
    found = seen.ended(asked)
    assert found is not None
    assert isinstance(found[0], Verdict)
    assert found[0].kind == "converged"
    assert found[0].metrics.generate_speed == pytest.approx(seen.final.generate_speed, rel=0.03)
    flawed = some_metrics(success=0.99)
    assert seen.ended(replace(asked, agreement=Agreement((*asked.agreement.pairs, (flawed, flawed))))) is None
