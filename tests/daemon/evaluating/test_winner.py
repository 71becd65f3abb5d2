"""Who is recommended: the best that keeps every objective, however the search was led there."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from daemon.service.daemons import a_loop, finished, submitted
from memory_journal import MemoryJournal
from run_stories import Story, some_metrics, some_settings
from serviceopt_journal import events as e
from serviceoptd.domain import documents, table
from serviceoptd.domain.settings import Objective, Slo, SoftFormula
from serviceoptd.domain.state import RunState
from stubs.scenario import stub_run

RUN = """
engine = "simulated"
benchmark = "simulated"
n_particles = 8
iters = 3
seed = 3
"""
PENALTIES = "ttft_penalty = 0\ntpot_penalty = 0\n"


def tuned(directory: Path, text: str) -> RunState:
    async def story() -> RunState:
        context, loop = a_loop(directory, MemoryJournal())
        return await finished(context, loop, await submitted(context, text))

    return asyncio.run(story())


def measured(objective: Objective, *results: tuple[float, float]) -> RunState:
    """A run whose particles gave these speeds (tokens/s) and mean TTFTs (s), the first at the current setting."""
    story = Story(some_settings(objective=objective))
    for number, (speed, ttft) in enumerate(results, 1):
        numbers = {"run": 1, "evaluation": number, "attempt": 1}
        story.tell(
            e.ParticleProposed(
                run=1, particle=number, slot=0, iteration=0, position=(), velocity=(), strategy="swarm",
                origin="current-setting" if number == 1 else "swarm",
                configuration={"MAX_NUM_SEQS": 32 + number, "MAX_NUM_BATCHED_TOKENS": 8192, "CONCURRENCY": 9},
            ),
            e.ServiceLaunching(particle=number, launch_id="a", **numbers),
            e.ServiceReady(waited=1.0, **numbers),
            e.MeasurementFinished(
                particle=number, measurement=1, metrics=some_metrics(speed, ttft=ttft), seconds=1.0, **numbers
            ),
        )  # fmt: skip
    return story.run


def test_the_best_measured_wins_and_not_the_setting_that_was_found(tmp_path: Path) -> None:
    run = tuned(tmp_path, RUN + "ttft_slo = 2.0\n[data_storage]\npso_top_k = 0\n[proof]\nmeasurements = 0\n")
    recommended = documents.recommendation(run)
    assert recommended is not None
    assert recommended.feasible
    assert recommended.proof is None
    assert recommended.origin != "current-setting"
    assert recommended.gain > 0
    feasible = [run.judgement(p) for p in run.particles.values() if run.judgement(p).feasible]
    assert run.judgement(run.particles[recommended.particle]).objective == max(j.objective or 0 for j in feasible)


def test_a_proven_winner_is_recommended_with_what_its_confirmations_tell(tmp_path: Path) -> None:
    run = tuned(tmp_path, RUN + "ttft_slo = 2.0\n")
    recommended, best = documents.recommendation(run), run.best()
    assert recommended is not None
    assert best is not None
    proof = recommended.proof
    assert recommended.particle == best.number == run.recommended
    assert recommended.feasible == run.declared_feasible
    assert recommended.confirmations == proof.measurements == len(best.confirmations) > 1
    assert proof.interval[0] < proof.estimate < proof.interval[1]
    assert proof.estimate == pytest.approx(recommended.metrics.generate_speed, rel=0.1)
    assert recommended.gain == proof.gain
    row = next(row for row in table.rows(run) if row["particle"] == best.number)
    assert row["generate_speed"] == recommended.metrics.generate_speed
    assert (row["confirmations"], row["feasible"]) == (proof.measurements, run.declared_feasible)


HARD = Objective(slos=(Slo(metric="ttft", limit=1.0),))
SOFT = Objective(
    slos=(Slo(metric="ttft", limit=1.0),),
    soft=SoftFormula(ttft_penalty=1.0, tpot_penalty=0.0, success_rate_penalty=5.0),
)


def test_the_fastest_is_not_recommended_when_it_breaks_an_objective() -> None:
    best = measured(HARD, (900, 0.4), (1500, 0.9), (9000, 2.2)).best()
    assert best is not None
    assert best.number == 2


def test_the_soft_formula_leads_the_search_and_the_recommendation_keeps_the_objectives_all_the_same() -> None:
    best = measured(SOFT, (900, 0.4), (1500, 0.9), (9000, 2.2)).best()
    assert best is not None
    assert best.number == 2


def test_where_nothing_keeps_the_objectives_the_closest_one_is_shown_and_called_infeasible() -> None:
    run = measured(HARD, (900, 3.0), (800, 1.2), (9000, 2.2))
    recommended = documents.recommendation(run)
    assert recommended is not None
    assert (recommended.particle, recommended.feasible) == (2, False)
    assert recommended.violated == ("mean TTFT 1.2 s > 1 s",)


@pytest.mark.parametrize("formula", ["hard", "soft"])
def test_both_penalties_may_be_0_and_then_the_fastest_wins(tmp_path: Path, formula: str) -> None:
    ending = f'formula = "{formula}"\nsuccess_rate_slo = 0.5\n[proof]\nmeasurements = 0\n'
    run = tuned(tmp_path, RUN + PENALTIES + ending)
    assert run.outcome == "completed"
    assert run.settings.objective.slos == ()
    best = run.best()
    assert best is not None
    speeds = [m.generate_speed for p in run.particles.values() if (m := run.result_of(p)) and m.success_rate >= 0.5]
    if formula == "hard":
        assert run.judgement(best).objective == max(speeds)


def test_the_search_moves_the_load_and_does_not_pin_it_at_its_maximum(tmp_path: Path) -> None:
    run = tuned(tmp_path, RUN + "ttft_slo = 2.0\n")
    loads = [int(p.configuration["CONCURRENCY"]) for p in run.particles.values()]
    largest = next(field.max for field in run.settings.fields if field.name == "CONCURRENCY")
    assert len(set(loads)) > len(loads) / 2
    assert sum(load == largest for load in loads) < len(loads) / 4


def test_no_configuration_is_measured_twice(tmp_path: Path) -> None:
    run = tuned(tmp_path, RUN + "ttft_slo = 2.0\n")
    keys = [run.space.key(p.configuration) for p in run.particles.values() if p.measurements]
    assert len(keys) == len(set(keys))


def test_only_confirmations_tell_of_single_requests_and_only_where_a_percentile_is_limited(tmp_path: Path) -> None:
    for slo, wanted in (("p90:0.05", {"tpot p90"}), ("0.05", set[str]())):
        directory = tmp_path / slo.partition(":")[0]
        text = stub_run(directory, iters=1, confirmations=3).read_text()
        run = tuned(directory, text.replace("tpot_slo = 0.05", f'tpot_slo = "{slo}"'))
        confirmed = [metrics for particle in run.particles.values() for metrics in particle.confirmations]
        searched = [metrics for particle in run.particles.values() for metrics in particle.measurements]
        assert confirmed
        assert all(set(metrics.tails) == wanted for metrics in confirmed)
        assert not any(metrics.tails for metrics in searched)
        assert run.proof is not None
        assert (run.proof.slos[-1].requests is None) is (not wanted)
