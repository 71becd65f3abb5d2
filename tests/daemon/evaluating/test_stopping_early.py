"""Measurements that are ended early: stub processes with metrics, a journal in memory, the daemon's own loop."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from daemon.service.daemons import a_loop, finished, submitted
from memory_journal import MemoryJournal
from serviceopt_journal import events as e
from serviceopt_journal.codec import Recorded
from serviceoptd.domain.state import RunState
from serviceoptd.domain.table import row
from stubs.scenario import left_over, of_type, stub_run

EARLY = """
[search]
strategy = "random"
[early_stopping]
interval = 0.03
"""

MANY = 240
"""Requests of a measurement that takes seconds: enough looks fit into each tenth, also where every look is late."""


def a_run(
    directory: Path, *, early: str = "", service: str = "--stub-metrics real", prompts: int = 96, budget: int = 6
) -> tuple[RunState, list[Recorded]]:  # fmt: skip
    """Loads on one service whose TPOT is 1.25 ms + 0.375 ms for each request in flight; the limit allows 30 of them."""
    file = stub_run(
        directory,
        searched=("CONCURRENCY",),
        service=service,
        client="--stub-paced --stub-faster 4",
        top=f"budget = {budget}",
    )
    text = (
        file.read_text()
        .replace("num_prompts = 24", f"num_prompts = {prompts}")
        .replace("min = 1\n", "min = 6\n")
        .replace("value = 8", "value = 24")
    )
    text = text.replace("tpot_slo = 0.05", "tpot_slo = 0.0125").replace("stop_timeout = 2", "stop_timeout = 0.3")
    text += EARLY + early

    async def story() -> tuple[RunState, list[Recorded]]:
        journal = MemoryJournal()
        context, loop = a_loop(directory, journal)
        run = await finished(context, loop, await submitted(context, text))
        return run, journal.records

    return asyncio.run(story())


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunState, list[Recorded]]:
    return a_run(tmp_path_factory.mktemp("stopped"), budget=9, prompts=MANY)


def test_what_cannot_keep_a_limit_is_ended_and_the_journal_says_why(
    stopped: tuple[RunState, list[Recorded]],
) -> None:
    run, records = stopped
    rejected = of_type(records, e.MeasurementRejected)
    hopeless = [event for event in rejected if event.statistic == "tpot mean"]
    assert hopeless
    for event in hopeless:
        assert event.rule == "early-stopping"
        assert "TPOT" in event.reason
        assert "its limit is 0.0125 s" in event.reason
        assert event.bound is not None
        assert event.bound > 0.0125
        assert event.looks > 1
        assert event.observed is not None
        assert 0 < event.observed.completed < MANY
        (started,) = [x for x in of_type(records, e.MeasurementStarted) if x.measurement == event.measurement]
        particle = run.particles[event.particle]
        assert started.concurrency is not None
        assert started.concurrency > 30
        assert particle.error.startswith("early-stopping: ended early (hopeless)")
        judgement = run.judgement(particle)
        assert not judgement.feasible
        assert 0 < judgement.violation < 1e300


def test_what_cannot_beat_the_best_is_ended(stopped: tuple[RunState, list[Recorded]]) -> None:
    run, records = stopped
    beaten = [event for event in of_type(records, e.MeasurementRejected) if event.statistic == "generate_speed"]
    assert beaten
    best = run.best()
    assert best is not None
    objective = run.judgement(best).objective
    assert objective is not None
    for event in beaten:
        assert event.bound is not None
        assert event.bound < objective
        assert run.result_of(run.particles[event.particle]) is None
        assert event.particle != best.number


def test_the_first_three_and_the_current_setting_are_measured_to_the_end(
    stopped: tuple[RunState, list[Recorded]],
) -> None:
    run, records = stopped
    ended = of_type(records, e.MeasurementFinished, e.MeasurementRejected)
    assert [type(event) for event in ended[:3]] == [e.MeasurementFinished] * 3
    assert ended[0].particle == 1
    assert run.particles[1].origin == "current-setting"
    assert all(event.served is not None and event.observed_by == "client" for event in ended[:3])


def test_the_service_survives_and_is_measured_again_only_when_it_is_idle(
    stopped: tuple[RunState, list[Recorded]],
) -> None:
    run, records = stopped
    assert len(of_type(records, e.ServiceLaunching)) == 1
    assert not of_type(records, e.ServiceFailed)
    assert run.outcome == "completed"
    assert left_over(records) == {}


def test_its_row_shows_what_was_observed_and_that_it_is_partial(stopped: tuple[RunState, list[Recorded]]) -> None:
    run, records = stopped
    event = of_type(records, e.MeasurementRejected)[0]
    shown = row(run, run.particles[event.particle])
    assert shown["generate_speed"] > 0
    assert "ended early" in shown["error"]
    assert shown["real_evaluation"] is True
    assert shown["source"] == "measured"
    assert 0 < shown["fitness"] < 1 or event.statistic == "generate_speed"


def test_a_result_that_is_known_precisely_enough_counts_as_one(tmp_path: Path) -> None:
    run, records = a_run(
        tmp_path, early="precision = 0.2\nerror_rate = 0.2\n", budget=4, prompts=288,
        service="--stub-metrics real --max-num-seqs 4",
    )  # fmt: skip
    known = [event for event in of_type(records, e.MeasurementFinished) if event.stopped_early]
    assert known
    for event in known:
        assert event.observed_by == "metrics"
        assert "known to within" in event.stopped_early
        assert run.particles[event.particle].measurements == (event.metrics,)
        assert event.metrics.completed < 288


def test_off_means_off(tmp_path: Path) -> None:
    _, records = a_run(tmp_path, early="enabled = false\n", budget=3)
    ended = of_type(records, e.MeasurementFinished)
    assert len(ended) == 3
    assert not any(event.looks or event.remark for event in ended)


@pytest.mark.parametrize("service", ["--stub-metrics garbage", ""])
def test_metrics_that_do_not_tell_leave_the_measurement_alone(service: str, tmp_path: Path) -> None:
    _, records = a_run(tmp_path, service=service, budget=2)
    ended = of_type(records, e.MeasurementFinished)
    assert len(ended) == 2
    assert all("early stopping could not read the service's metrics" in event.remark for event in ended)
    assert all(event.served is None for event in ended)


def test_a_service_that_goes_on_with_requests_nobody_waits_for_is_launched_anew(tmp_path: Path) -> None:
    run, records = a_run(tmp_path, service="--stub-metrics real --stub-linger 600", budget=6)
    rejected = of_type(records, e.MeasurementRejected)
    failed = of_type(records, e.ServiceFailed)
    assert rejected
    assert len(failed) == len(rejected)
    assert "still ran after 0.3 s" in failed[0].reason
    assert run.outcome == "completed"
    assert sum(bool(p.measurements) for p in run.particles.values()) + len(rejected) == 6
