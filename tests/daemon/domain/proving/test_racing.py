"""Which finalist is measured next, and that the statistics of what is recommended hold."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.proof_coverage import LEVELS, PERCENTILES, simulated_run
from run_stories import Story, some_metrics, some_settings
from serviceopt_journal import events as e
from serviceopt_journal.metrics import Metrics
from serviceoptd.domain.proving.racing import next_confirmation, recommended
from serviceoptd.domain.settings import Measuring, Objective, Proving, Slo

TTFT = Objective(slos=(Slo(metric="ttft", limit=1.0),))
Result = tuple[float, float]  # tokens/s, mean TTFT in seconds


def a_story(*results: Result, proof: Proving | None = None) -> Story:
    """A search that is over; the first particle is the current setting."""
    story = Story(some_settings(objective=TTFT, measuring=Measuring(repeats=1), proof=proof or Proving()))
    for number, (speed, ttft) in enumerate(results, 1):
        story.tell(
            e.ParticleProposed(
                run=1, particle=number, slot=0, iteration=0, position=(), velocity=(), strategy="swarm",
                origin="current-setting" if number == 1 else "swarm",
                configuration={"MAX_NUM_SEQS": 32 + number, "MAX_NUM_BATCHED_TOKENS": 8192, "CONCURRENCY": 9},
            )
        )  # fmt: skip
        measure(story, number, some_metrics(speed, ttft=ttft))
    return story


def measure(story: Story, particle: int, metrics: Metrics) -> None:
    numbers = {"run": 1, "evaluation": len(story.run.evaluations) + 1, "attempt": 1}
    story.tell(
        e.ServiceLaunching(particle=particle, launch_id="a", **numbers),
        e.ServiceReady(waited=1.0, **numbers),
        e.MeasurementFinished(particle=particle, measurement=1, metrics=metrics, seconds=1.0, **numbers),
    )


def race(story: Story, confirm: Callable[[int, int], Result]) -> list[int]:
    """The particles that were asked for, until no more is; `confirm` gives the result by particle and round."""
    asked: list[int] = []
    while (due := next_confirmation(story.run)) is not None:
        asked.append(due.particle)
        story.tell(e.ConfirmationRequested(run=1, particle=due.particle, round=due.round, reason=due.reason))
        speed, ttft = confirm(due.particle, due.round)
        measure(story, due.particle, some_metrics(speed, ttft=ttft))
    return asked


def wobbling(results: tuple[Result, ...], by: float = 0.01) -> Callable[[int, int], Result]:
    """As the search measured, with a little noise."""

    def confirm(particle: int, round_: int) -> Result:
        speed, ttft = results[particle - 1]
        factor = 1 + by * (-1) ** (particle + round_)
        return speed * factor, ttft * factor

    return confirm


CLOSE: tuple[Result, ...] = ((900, 0.4), (1500, 0.5), (1495, 0.5), (1490, 0.5), (800, 0.4))


def test_finalists_and_the_current_setting_take_turns_while_they_are_not_told_apart() -> None:
    story = a_story(*CLOSE)
    asked = race(story, wobbling(CLOSE))
    assert asked[:4] == [2, 3, 4, 1]
    assert len(asked) == 9
    assert {asked.count(particle) for particle in (2, 3, 4)} <= {2, 3}
    assert asked.count(1) == 1


def test_the_race_is_over_as_soon_as_the_best_is_told_from_the_second() -> None:
    results = ((900, 0.4), (2000, 0.5), (1500, 0.5), (1200, 0.5))
    story = a_story(*results)
    asked = race(story, wobbling(results))
    chosen, feasible, proof = recommended(story.run)
    assert len(asked) < 9
    assert chosen is not None
    assert proof is not None
    assert (chosen.number, feasible, proof.told_apart) == (2, True, True)


def test_a_lucky_measurement_of_the_search_does_not_make_the_winner() -> None:
    story = a_story((900, 0.4), (1900, 0.5), (1500, 0.5), (1400, 0.5))
    race(story, wobbling(((900, 0.4), (1300, 0.5), (1500, 0.5), (1400, 0.5))))
    chosen, _, proof = recommended(story.run)
    assert chosen is not None
    assert proof is not None
    assert chosen.number == 3
    assert proof.estimate == pytest.approx(1500, rel=0.02)


def test_what_lies_at_a_limit_is_no_finalist_while_something_nearly_as_fast_keeps_clear_of_it() -> None:
    truth = ((900, 0.4), (2000, 0.99), (1900, 0.995), (1850, 0.99), (1700, 0.5), (1650, 0.5), (1600, 0.4))
    story = a_story(*truth)
    assert {2, 3, 4}.isdisjoint(race(story, wobbling(truth)))
    chosen, feasible, _ = recommended(story.run)
    assert chosen is not None
    assert (chosen.number, feasible) == (5, True)


def test_finalists_that_do_not_become_sure_to_keep_the_slo_give_way_to_the_next() -> None:
    searched = ((900, 0.4), (2000, 0.6), (1900, 0.6), (1850, 0.6), (1500, 0.5), (1000, 0.3))
    truth = ((900, 0.4), (2000, 0.99), (1900, 0.99), (1850, 1.5), (1500, 0.5), (1000, 0.3))
    story = a_story(*searched, proof=Proving(measurements=20))
    asked = race(story, wobbling(truth, by=0.03))
    chosen, feasible, proof = recommended(story.run)
    assert asked.count(4) == 1
    assert 6 not in asked
    assert chosen is not None
    assert proof is not None
    assert (chosen.number, feasible) == (5, True)
    assert proof.unsure == (2, 3, 4)


def test_where_nothing_keeps_the_slo_the_closest_are_confirmed_and_it_is_said() -> None:
    truth = ((900, 3.0), (2000, 1.5), (1900, 1.4), (1850, 5.0))
    story = a_story(*truth)
    race(story, wobbling(truth))
    chosen, feasible, proof = recommended(story.run)
    assert chosen is not None
    assert proof is not None
    assert (chosen.number, feasible, proof.binding) == (3, False, "mean TTFT <= 1 s")


@pytest.mark.parametrize("count", [0, 1])
def test_without_a_race_the_best_one_alone_is_confirmed_beside_the_current_setting(count: int) -> None:
    story = a_story(*CLOSE, proof=Proving(finalists=count))
    assert set(race(story, wobbling(CLOSE))) == {1, 2}


def test_two_loads_of_one_service_do_not_compete() -> None:
    story = a_story(*CLOSE)
    story.tell(
        e.ParticleProposed(
            run=1, particle=6, slot=0, iteration=0, position=(), velocity=(), strategy="swarm", origin="swarm",
            configuration={"MAX_NUM_SEQS": 34, "MAX_NUM_BATCHED_TOKENS": 8192, "CONCURRENCY": 8},
        )
    )  # fmt: skip
    measure(story, 6, some_metrics(1499, ttft=0.5))
    assert 6 not in race(story, wobbling((*CLOSE, (1499, 0.5))))


def test_a_proof_that_is_turned_off_asks_for_nothing() -> None:
    story = a_story(*CLOSE, proof=Proving(measurements=0))
    assert next_confirmation(story.run) is None
    chosen, feasible, proof = recommended(story.run)
    assert chosen is not None
    assert (chosen.number, feasible, proof) == (2, True, None)


def test_a_continued_run_has_the_budget_of_the_proof_again() -> None:
    story = a_story(*CLOSE)
    race(story, wobbling(CLOSE))
    story.tell(e.RunFinished(run=1, outcome="completed", reason="budget used", recommended=2, feasible=True))
    story.tell(e.RunResumed(run=1))
    assert story.run.recommended is None
    assert next_confirmation(story.run) is not None


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 12))
def test_every_race_ends_within_its_budget_and_recommends_what_was_confirmed(data: st.DataObject, budget: int) -> None:
    results = st.tuples(st.floats(1, 1e5), st.floats(0.01, 10))
    story = a_story(*data.draw(st.lists(results, min_size=1, max_size=6)), proof=Proving(measurements=budget))
    asked = race(story, lambda _particle, _round: data.draw(results))
    chosen, feasible, proof = recommended(story.run)
    assert 1 <= len(asked) <= budget
    assert chosen is not None
    assert proof is not None
    assert chosen.number in asked
    assert proof.total == len(asked)
    assert feasible == (proof.binding == "")


@pytest.mark.parametrize("level", ["median of real engines", "p90 of real engines"])
def test_the_interval_covers_the_truth_and_what_is_declared_feasible_is(level: str) -> None:
    outcomes = [simulated_run(seed, LEVELS[level], Proving()) for seed in range(60)]
    covered = [outcome.covered for outcome in outcomes if outcome.covered is not None]
    assert len(covered) == len(outcomes)
    assert fmean(covered) >= 0.88
    assert fmean(outcome.declared and outcome.violates for outcome in outcomes) <= 0.05
    assert fmean(outcome.told_wrongly for outcome in outcomes) <= 0.05
    assert fmean(outcome.declared for outcome in outcomes) >= 0.6


@pytest.mark.parametrize("name", ["1,000, correlation 0.9", "300 independent requests"])
def test_a_percentile_that_is_declared_to_be_kept_is(name: str) -> None:
    outcomes = [
        simulated_run(seed, LEVELS["median of real engines"], Proving(), PERCENTILES[name]) for seed in range(40)
    ]
    assert fmean(outcome.declared and outcome.violates for outcome in outcomes) <= 0.05
    assert fmean(outcome.declared for outcome in outcomes) >= 0.6
