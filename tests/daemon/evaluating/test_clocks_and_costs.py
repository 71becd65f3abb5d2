"""What a clock that is set, a launch that is repeated or a value that is matched may not change."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import Story, a_finished_story, some_metrics
from daemon.service.daemons import a_loop, finished, submitted
from memory_journal import MemoryJournal
from serviceopt_journal import events as e
from serviceopt_journal.clock import SystemClock
from serviceopt_journal.codec import Recorded
from serviceoptd.domain.creation import waited
from serviceoptd.domain.documents import particle_document, run_document, run_summary
from serviceoptd.domain.evolve import fold
from serviceoptd.domain.state import RunState, State
from serviceoptd.evaluating.context import Context
from serviceoptd.evaluating.keeping import pruning
from serviceoptd.evaluating.trials import costs
from serviceoptd.service.loop import Loop
from stubs.scenario import of_type, standalone, stub_run

AT = {"MAX_NUM_SEQS": 256, "CONCURRENCY": 100}
OTHER = {"MAX_NUM_SEQS": 128, "CONCURRENCY": 100}


HOUR, YEAR = 3600.0, 31_536_000.0


def told(events: Sequence[e.Event], jumps: Sequence[float] = (), reboots: Collection[int] = ()) -> State:
    """The state after these events, ten seconds apart by the monotonic clock; the wall clock `jumps` about before each.

    `reboots`: numbers of records before which the machine was started anew, so that its clock began at 0.
    """
    state, wall, begun, boot = State(), 1.75e9, 0, 1
    for seq, event in enumerate((e.DaemonStarted(version="1", pid=1, host="h", python="3"), *events), 1):
        wall += 10.0 + (jumps[seq % len(jumps)] if jumps else 0.0)
        begun, boot = (seq, boot + 1) if seq in reboots else (begun, boot)
        record = Recorded(
            seq=seq, commit=seq, time=wall, monotonic=10.0 * (seq - begun), boot_id=f"boot {boot}", event=event
        )
        state = fold(state, record)
    return state


def durations(state: State) -> dict[str, object]:
    """Every duration that is told of run 1."""
    run = state.runs[1]
    boot, last = state.moment
    document = run_document(run, now=(boot, last + 5.0))
    return {
        "active": document.active_seconds,
        "left": document.seconds_left,
        "under way": document.current and document.current.seconds,
        "particles": [particle.seconds for particle in run.particles.values()],
        "costs": costs(run),
    }


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(2, 60),
    jumps=st.lists(st.sampled_from([0.0, HOUR, -HOUR, YEAR, -YEAR]) | st.floats(-1e9, 1e9), min_size=1, max_size=60),
)
def test_no_duration_and_no_order_goes_by_the_wall_clock(length: int, jumps: list[float]) -> None:
    events = list(a_finished_story())[:length]
    assert durations(told(events, jumps)) == durations(told(events))


@pytest.mark.parametrize("by", [HOUR, -HOUR, YEAR, -YEAR])
def test_a_jump_in_any_phase_changes_no_duration(by: float) -> None:
    events = list(a_finished_story())
    for length in range(1, len(events) + 1):
        for phase in range(2, length + 2):
            jumps = [by if seq % (length + 2) == phase else 0.0 for seq in range(length + 2)]
            assert durations(told(events[:length], jumps)) == durations(told(events[:length]))


@settings(max_examples=60, deadline=None)
@given(reboots=st.sets(st.integers(2, 60)))
def test_what_passed_between_two_boots_counts_nothing_and_the_rest_is_added(reboots: set[int]) -> None:
    events = list(a_finished_story())
    steady, rebooted = told(events).runs[1], told(events, reboots=reboots).runs[1]
    started = next(seq for seq, event in enumerate(events, 2) if isinstance(event, e.RunStarted))
    ended = len(events) + 1
    unknown = sum(started < seq <= ended for seq in reboots)
    assert steady.active_seconds == 10.0 * (ended - started)
    assert rebooted.active_seconds == steady.active_seconds - 10.0 * unknown
    for before, after in zip(steady.particles.values(), rebooted.particles.values(), strict=True):
        assert 0.0 <= after.seconds <= before.seconds


@settings(max_examples=60, deadline=None)
@given(length=st.integers(5, 40), reboots=st.sets(st.integers(2, 42)))
def test_of_a_launch_that_lives_through_boots_each_part_that_is_known_counts(length: int, reboots: set[int]) -> None:
    """As it is written to `evaluation_finished`: only between two boots nobody knows how long it took."""
    events = list(a_finished_story())[:length]
    rebooted = told(events, reboots=reboots)
    for number, launch in told(events).runs[1].evaluations.items():
        unknown = sum(launch.launching_seq < seq <= length + 1 for seq in reboots)
        if launch.phase == "finished":  # nothing more is told of it
            continue
        steady = 10.0 * (length + 1 - launch.launching_seq)
        assert waited(rebooted.runs[1].evaluations[number], rebooted.moment) == steady - 10.0 * unknown


@pytest.mark.parametrize("by", [HOUR, -HOUR, YEAR, -YEAR])
def test_the_latest_directories_are_kept_although_the_clock_was_set(tmp_path: Path, by: float) -> None:
    story = Story()
    events = [*story.submitted()]
    for number in range(1, pruning.KEPT + 6):
        events += story.measured(some_metrics(900 + number), MAX_NUM_SEQS=number, CONCURRENCY=100)
        (tmp_path / "runs" / "1" / f"evaluation-{number}").mkdir(parents=True)
    jumps = [by if seq == len(events) // 2 else 0.0 for seq in range(len(events) + 2)]
    pruning.prune(tmp_path, told(events, jumps))
    left = {path.name for path in (tmp_path / "runs" / "1").iterdir()}
    assert left == {f"evaluation-{number}" for number in range(6, pruning.KEPT + 6)}


class _Set(SystemClock):
    """A wall clock that somebody sets about whenever it is read."""

    def __init__(self, jumps: Sequence[float]) -> None:
        super().__init__()
        self._jumps, self._by, self._read = jumps, 0.0, 0

    def wall(self) -> float:
        """Seconds since the epoch, as it is set now."""
        self._by += self._jumps[self._read % len(self._jumps)]
        self._read += 1
        return max(0.0, super().wall() + self._by)


@pytest.mark.parametrize("jumps", [(), (HOUR, -HOUR), (-HOUR,), (YEAR, -HOUR), (-YEAR, YEAR, -HOUR)])
def test_a_run_goes_the_same_way_and_takes_as_long_whatever_the_clock_is_set_to(
    tmp_path: Path, jumps: tuple[float, ...]
) -> None:
    begun = time.monotonic()
    seen = {}
    for name, by in (("steady", (0.0,)), ("set", jumps or (0.0,))):
        journal = MemoryJournal(clock=_Set(by))
        (tmp_path / name).mkdir()
        context, loop = a_loop(tmp_path / name, journal)

        async def worked(context: Context = context, loop: Loop = loop) -> RunState:
            return await finished(context, loop, await submitted(context))

        run = asyncio.run(worked())
        seen[name] = [(p.configuration, p.metrics, p.error) for p in run.particles.values()], run.recommended
        took = time.monotonic() - begun
        told_of = of_type(journal.records, e.EvaluationFinished, e.RunFinished)
        assert told_of
        assert all(0.0 <= event.seconds <= took for event in told_of)
        assert 0.0 < run.active_seconds <= took
    assert seen["set"] == seen["steady"]


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
