from __future__ import annotations

import math
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from run_stories import Story, some_metrics, some_settings
from serviceopt_journal import events as e
from serviceopt_journal.metrics import Metrics
from serviceoptd.domain import documents, table
from serviceoptd.domain.particles.rejections import audited, rejection_record, wilson
from serviceoptd.domain.settings import Budget, Measuring, Search
from serviceoptd.domain.state import RunState

ONCE = some_settings(measuring=Measuring(repeats=1), budget=Budget(evaluations=100))


class Rejecting(Story):
    """Proposes, rejects and measures particles one after the other."""

    def proposed(self, *, rejected: bool | None = None, audit: bool = False, rule: str = "memory") -> int:
        number = len(self.run.particles) + 1
        self.tell(
            e.ParticleProposed(
                run=1, particle=number, slot=0, iteration=0, position=(0.5,) * 3, velocity=(0.0,) * 3,
                configuration={"MAX_NUM_SEQS": 32 + number, "CONCURRENCY": 100}, strategy="swarm", origin="swarm",
            )
        )  # fmt: skip
        if rejected:
            self.tell(
                e.ParticleRejected(
                    run=1, particle=number, rule=rule, reason="too large", predicted=some_metrics(1.0),
                    kind="theory", audited=audit,
                )
            )  # fmt: skip
        return number

    def measured(self, number: int, metrics: Metrics) -> RunState:
        evaluation = len(self.run.evaluations) + 1
        common = {"run": 1, "evaluation": evaluation, "attempt": 1}
        return self.tell(
            e.ServiceLaunching(particle=number, launch_id="l", **common),
            e.ServiceReady(waited=5.0, **common),
            e.MeasurementStarted(
                particle=number, measurement=1, launch_id="m", concurrency=1, request_rate=None, num_prompts=9, seed=1,
                **common,
            ),
            e.MeasurementFinished(particle=number, measurement=1, metrics=metrics, seconds=9.0, **common),
            e.ServiceStopped(**common),
            e.EvaluationFinished(run=1, evaluation=evaluation, particles=(number,), seconds=10.0),
        )  # fmt: skip


def test_an_audited_particle_is_admitted_and_keeps_why_it_would_have_been_given_up() -> None:
    story = Rejecting(ONCE)
    number = story.proposed(rejected=True, audit=True)
    particle = story.run.particles[number]
    assert particle.admitted
    assert (particle.audited, particle.rejected) == ("memory: too large", "")
    assert particle.predicted == some_metrics(1.0)
    assert next(story.run.pending()).number == number
    row = table.rows(story.measured(number, some_metrics(900.0)))[0]
    assert (row["audited"], row["error"], row["source"]) == ("memory: too large", "", "measured")
    assert (row["real_evaluation"], row["generate_speed"]) == (True, 900.0)
    assert documents.particle_document(story.run, story.run.particles[number]).audited == "memory: too large"


def test_a_false_rejection_is_feasible_and_better_than_everything_before_it() -> None:
    story = Rejecting(ONCE)
    story.measured(story.proposed(), some_metrics(1000.0))
    worse = story.proposed(rejected=True, audit=True)
    story.measured(worse, some_metrics(900.0))
    better = story.proposed(rejected=True, audit=True)
    story.measured(better, some_metrics(1100.0))
    infeasible = story.proposed(rejected=True, audit=True)
    story.measured(infeasible, some_metrics(5000.0, ttft=9.0))
    story.measured(story.proposed(), some_metrics(2000.0))  # what came later does not count
    story.proposed(rejected=True, audit=True)  # nor what is not measured yet
    record = rejection_record(story.run)
    assert (record.audited, record.false, record.false_rate) == (3, 1, pytest.approx(1 / 3))
    assert record.false_rate_interval == wilson(1, 3)


def test_the_first_feasible_one_is_better_than_nothing() -> None:
    story = Rejecting(ONCE)
    story.measured(story.proposed(), some_metrics(1000.0, ttft=9.0))
    story.measured(story.proposed(rejected=True, audit=True), some_metrics(1.0))
    assert rejection_record(story.run).false == 1


def test_hours_saved_are_the_rejected_particles_times_the_mean_of_the_measured() -> None:
    story = Rejecting(ONCE)
    assert rejection_record(story.run).hours_saved is None
    run = story.measured(story.proposed(), some_metrics())
    seconds = run.particles[1].seconds
    assert seconds > 0
    for rule in ("memory", "memory", "declared"):
        story.proposed(rejected=True, rule=rule)
    record = rejection_record(story.run)
    assert record.by_rule == (("memory", 2), ("declared", 1))
    assert record.hours_saved == pytest.approx(3 * seconds / 3600)
    document = documents.run_document(story.run, now=("", 0.0))
    assert document.rejections == record
    found = documents.recommendation(story.run)
    assert found is not None
    assert found.rejections.rejected == 3


def test_the_audit_draws_its_share_of_the_particles_and_never_another_set() -> None:
    settings = some_settings(search=Search(audit_share=0.2), budget=Budget(evaluations=10_000))
    run = Rejecting(settings).run
    drawn = [number for number in range(1, 2001) if audited(run, number)]
    assert len(drawn) / 2000 == pytest.approx(0.2, abs=0.03)
    assert drawn == [number for number in range(1, 2001) if audited(run, number)]
    other = Rejecting(settings, seed=8).run
    assert drawn != [number for number in range(1, 2001) if audited(other, number)]


@pytest.mark.parametrize(("evaluations", "most"), [(5, 1), (10, 1), (25, 2), (100, 10)])
def test_audits_get_a_tenth_of_the_budget_at_most(evaluations: int, most: int) -> None:
    story = Rejecting(some_settings(search=Search(audit_share=1.0), budget=Budget(evaluations=evaluations)))
    for _ in range(most):
        assert audited(story.run, len(story.run.particles) + 1)
        story.proposed(rejected=True, audit=True)
    assert not audited(story.run, len(story.run.particles) + 1)


def test_without_a_share_nothing_is_audited() -> None:
    run = Rejecting(some_settings(search=Search(audit_share=0.0))).run
    assert not any(audited(run, number) for number in range(1, 500))


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_holds_the_shares_that_a_score_test_does_not_refute(counted: tuple[int, int]) -> None:
    successes, trials = counted
    low, high = wilson(successes, trials)
    assert 0.0 <= low <= successes / trials <= high <= 1.0
    z = NormalDist().inv_cdf(0.975)
    for end in (low, high):
        if 1e-9 < end < 1 - 1e-9:
            score = abs(successes / trials - end) / math.sqrt(end * (1 - end) / trials)
            assert score == pytest.approx(z, rel=1e-4)
