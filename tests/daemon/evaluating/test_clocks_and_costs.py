"""What a clock that is set, a launch that is repeated or a value that is matched may not change."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from builders import Story, some_metrics
from daemon.service.daemons import a_loop, submitted
from memory_journal import MemoryJournal
from serviceopt_journal import events as e
from serviceopt_journal.codec import Recorded
from serviceoptd.domain.documents import particle_document, run_summary
from serviceoptd.domain.evolve import fold
from serviceoptd.domain.state import State
from serviceoptd.evaluating.trials import costs
from stubs.scenario import of_type, standalone, stub_run

AT = {"MAX_NUM_SEQS": 256, "CONCURRENCY": 100}
OTHER = {"MAX_NUM_SEQS": 128, "CONCURRENCY": 100}


def told(events: Sequence[e.Event], jumps: Sequence[float] = ()) -> State:
    """The state after these events, ten seconds apart by the monotonic clock; the wall clock `jumps` about before each."""
    state, wall = State(), 1.75e9
    for seq, event in enumerate((e.DaemonStarted(version="1", pid=1, host="h", python="3"), *events), 1):
        wall += 10.0 + (jumps[seq % len(jumps)] if jumps else 0.0)
        state = fold(state, Recorded(seq=seq, commit=seq, time=wall, monotonic=10.0 * seq, boot_id="boot", event=event))
    return state


@pytest.mark.parametrize("jumps", [(-7200.0,), (3.2e7,), (0.0, -3.2e7, 5.0), (-9.9, 1e6)])
def test_a_wall_clock_that_is_set_changes_no_cost_and_no_budget(jumps: tuple[float, ...]) -> None:
    story = Story()
    events = [*story.submitted(), *story.measured(some_metrics(2000), **AT), *story.failed("no room", **OTHER)]
    steady, jumping = told(events).runs[1], told(events, jumps).runs[1]
    assert costs(jumping) == costs(steady)
    assert jumping.active_seconds == steady.active_seconds > 0
    assert [p.seconds for p in jumping.particles.values()] == [p.seconds for p in steady.particles.values()]


@pytest.mark.parametrize("at", range(4, 11))
def test_an_interrupted_attempt_teaches_no_cost(at: int) -> None:
    story = Story()
    events = [*story.submitted(), *story.measured(some_metrics(2000), **AT)]
    begun, rest = events[:at], events[at:]
    interrupted = e.EvaluationInterrupted(run=1, evaluation=1, attempt=1, reason="the daemon was killed")
    ready = [event for event in events if isinstance(event, e.ServiceLaunching | e.ServiceLaunched | e.ServiceReady)]
    due = [event for event in rest if not isinstance(event, e.ServiceLaunching | e.ServiceLaunched | e.ServiceReady)]
    measured = any(isinstance(event, e.MeasurementFinished) for event in begun)
    started = [event for event in begun if isinstance(event, e.MeasurementStarted)]
    killed = [*begun, interrupted, *(() if measured else (*ready, *started, *due))]
    assert costs(told(killed).runs[1]) == costs(told(events).runs[1])


def test_a_simulated_value_that_others_take_stays_simulated_through_two_hops() -> None:
    first, second, third = (Story(run=number, simulated=number == 1) for number in (1, 2, 3))
    events = [*first.submitted(), *first.measured(some_metrics(2000), **AT)]
    for story, source in ((second, 1), (third, 2)):
        events += [*story.submitted(), *story.proposed(**AT)]
        events.append(e.ParticleMatched(run=story.run, particle=1, same_as_run=source, same_as_particle=1))
    state = told(events)
    for run in state.runs.values():
        assert particle_document(run, run.particles[1]).simulated
        assert run_summary(run).simulated


def test_the_directory_of_an_attempt_is_new_and_what_lay_there_is_moved_aside(tmp_path: Path) -> None:
    context, _ = a_loop(tmp_path, MemoryJournal())
    number = asyncio.run(submitted(context))
    run = context.ledger.state.runs[number]
    for content in ("first", "second", "third"):
        directory = context.workplace(run, "evaluation-1", "measurement-1-1").directory
        assert list(directory.iterdir()) == []
        (directory / "result.json").write_text(content)
    found = {path.parent.name: path.read_text() for path in directory.parent.rglob("result.json")}
    kept = {"measurement-1-1.earlier-1": "first", "measurement-1-1.earlier-2": "second", "measurement-1-1": "third"}
    assert found == kept
    directory.joinpath("result.json").unlink()
    directory.rmdir()
    directory.symlink_to(tmp_path)
    again = context.workplace(run, "evaluation-1", "measurement-1-1").directory
    assert not again.is_symlink()
    assert list(again.iterdir()) == []


@pytest.mark.parametrize("by", [-3600, 3600, -31_536_000, 31_536_000])
def test_a_clock_that_is_set_while_it_is_measured_loses_no_result(tmp_path: Path, by: int) -> None:
    """For a result, a clock that is set and a file server with another clock are one: the time stamp is another."""
    configuration = stub_run(tmp_path, n_particles=2, iters=1, client=f"--stub-dated {by}")
    ended, recorded, _ = standalone(configuration)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert of_type(recorded, e.MeasurementFailed) == []
    assert len(of_type(recorded, e.MeasurementFinished)) == 2
