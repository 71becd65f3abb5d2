"""A step fails by an error of the system or of a plugin: no result, no service left, and the run goes on or is held."""

from __future__ import annotations

import asyncio
import errno
import shutil
from collections.abc import Callable, Iterator
from copy import copy
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import structlog

from daemon.service.daemons import a_loop, submitted
from memory_journal import MemoryJournal
from patience import HANG
from serviceopt_journal import events as e
from serviceopt_journal.artefacts import ArtefactStore
from serviceopt_journal.errors import EnvironmentLacks, JournalWriteFailed
from serviceoptd.benchmarks.vllm_benchmark.client import VllmBenchmark
from serviceoptd.domain.holding.interruptions import MOST
from serviceoptd.domain.state import RunState
from serviceoptd.engines.vllm import VllmEngine
from serviceoptd.evaluating import stopping
from serviceoptd.evaluating.context import Context
from serviceoptd.io import log
from serviceoptd.io.reaping import ProcessesLeft
from serviceoptd.service import closing, control, loop
from serviceoptd.service.loop import Loop
from stubs.scenario import assert_sound, left_over, of_type, stub_run

ERRORS = [
    PermissionError(errno.EACCES, "Permission denied", "/srv/plugin"),
    TimeoutError("the read operation timed out"),
    TimeoutError(),
    ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
    URLError("no route to host"),
    OSError(errno.EMFILE, "Too many open files"),
    IsADirectoryError(errno.EISDIR, "Is a directory", "result.json"),
]


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(closing, "PAUSES", (0.01,))
    log.configure("WARNING")  # as the daemon does: structlog's own tracebacks take seconds each
    yield
    structlog.reset_defaults()


def failing(place: Any, name: str, errors: Iterator[BaseException], patch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on, what has this name raises the errors in turn, and then does what it did before."""
    original = getattr(place, name)

    def instead(*arguments: Any, **named: Any) -> Any:
        if error := next(errors, None):
            raise error
        return original(*arguments, **named)

    return lambda: patch.setattr(place, name, instead)


def for_ever(error: BaseException) -> Iterator[BaseException]:
    """Anew each time: one that is raised again and again drags along all that was being handled before."""
    while True:
        yield copy(error)


def times(number: int, error: BaseException) -> Iterator[BaseException]:
    return islice(for_ever(error), number)


def stub_text(directory: Path, **options: Any) -> str:
    """On `pso`, whose proposals do not depend on what a launch took."""
    return stub_run(directory, n_particles=2, iters=1, **options).read_text() + '[search]\nstrategy = "pso"\n'


async def until_over_or_held(context: Context, work: Loop, number: int) -> RunState:
    """The run, when the loop has nothing to do on it any more."""

    def look(_record: object, state: Any) -> None:
        run = state.runs[number]
        if run.over or run.held:
            work.stop("seen enough")

    context.ledger.listen(look)
    await work.recover()
    async with asyncio.timeout(HANG):
        await work.run_forever()
    return context.ledger.state.runs[number]


def worked_on(directory: Path, journal: MemoryJournal, *faults: Callable[[], None], **options: Any) -> RunState:
    """A run on the stub programs, until it is over or held. The faults begin once it has been submitted."""

    async def story() -> RunState:
        context, work = a_loop(directory, journal)
        number = await submitted(context, stub_text(directory, **options))
        for fault in faults:
            fault()
        return await until_over_or_held(context, work, number)

    return asyncio.run(story())


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__ + str(error.errno or ""))
@pytest.mark.parametrize(
    ("place", "name", "phase"),
    [
        (VllmBenchmark, "plan", "measuring"),
        (VllmEngine, "plan", "launching"),
        (loop, "propose", "proposing"),
        (loop, "no_descriptors", "proposing"),
        (loop, "finish_evaluation", "stopping"),
    ],
)
def test_an_error_that_stays_holds_the_run_and_leaves_no_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Any, name: str, phase: str, error: OSError
) -> None:
    journal = MemoryJournal()
    run = worked_on(tmp_path, journal, failing(place, name, for_ever(error), monkeypatch))
    assert run.held
    assert f"{MOST} interruptions in a row while {phase}: " in run.paused
    assert str(error) in run.paused
    interruptions = of_type(journal.records, e.SurroundingsFailed)
    assert [each.phase for each in interruptions] == [phase] * MOST
    assert not [particle for particle in run.particles.values() if particle.error]
    assert left_over(journal.records) == {}
    assert len(of_type(journal.records, e.ServiceLaunching)) <= MOST


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__ + str(error.errno or ""))
def test_what_fails_twice_is_done_again_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    undisturbed = worked_on(tmp_path / "undisturbed", MemoryJournal())
    journal = MemoryJournal()
    faults = [failing(place, "plan", times(MOST - 1, error), monkeypatch) for place in (VllmBenchmark, VllmEngine)]
    run = worked_on(tmp_path / "disturbed", journal, *faults)
    assert run.outcome == "completed"
    assert results(run) == results(undisturbed)
    assert len(of_type(journal.records, e.SurroundingsFailed)) == 2 * (MOST - 1)
    assert run.interruptions == ()
    assert_sound(journal.records)


def results(run: RunState) -> list[object]:
    return [(particle.configuration, particle.measurements) for particle in run.particles.values()]


@pytest.mark.parametrize("error", [each for each in ERRORS if each.errno != errno.EMFILE], ids=str)
def test_a_result_that_cannot_be_read_fails_its_evaluation_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    journal = MemoryJournal()
    run = worked_on(tmp_path, journal, failing(VllmBenchmark, "read", times(1, error), monkeypatch))
    assert run.outcome == "completed"
    first, second = of_type(journal.records, e.MeasurementFailed, e.MeasurementFinished)
    assert first.kind == "unusable"
    assert str(error) in first.reason
    assert isinstance(second, e.MeasurementFinished)
    assert_sound(journal.records)


def test_an_output_that_cannot_be_kept_does_not_cost_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keep(store: ArtefactStore, source: Path | bytes) -> str:
        raise EnvironmentLacks("a file cannot be kept: Permission denied") from PermissionError(errno.EACCES, "x")

    monkeypatch.setattr(ArtefactStore, "keep", keep)
    journal = MemoryJournal()
    run = worked_on(tmp_path, journal)
    assert run.outcome == "completed"
    assert len(of_type(journal.records, e.MeasurementFinished)) == 2
    assert all(event.artefacts == {} for event in of_type(journal.records, e.MeasurementFinished, e.ServiceStopped))


def test_a_failed_commit_ends_the_service_before_the_loop_is_left(tmp_path: Path) -> None:
    journal = MemoryJournal()

    def fail_when_ready() -> None:
        if journal.records and isinstance(journal.records[-1].event, e.ServiceReady):
            raise JournalWriteFailed("a commit failed: disk I/O error")

    journal.before_append = fail_when_ready
    with pytest.raises(JournalWriteFailed):
        worked_on(tmp_path, journal)
    assert of_type(journal.records, e.ServiceLaunched)
    assert left_over(journal.records) == {}


def test_a_task_that_is_cancelled_leaves_no_service(tmp_path: Path) -> None:
    journal = MemoryJournal()

    async def story() -> None:
        context, work = a_loop(tmp_path, journal)
        await submitted(context, stub_text(tmp_path, client="--stub-hang"))
        working = asyncio.ensure_future(work.run_forever())
        async with asyncio.timeout(HANG):
            while not of_type(journal.records, e.MeasurementStarted):
                await asyncio.sleep(0.02)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working

    asyncio.run(story())
    assert left_over(journal.records) == {}


@pytest.mark.parametrize(
    "error", [OSError(errno.EIO, "Input/output error"), ProcessesLeft((1,), 30.0), KeyError("what")], ids=str
)
def test_a_launch_that_cannot_be_closed_after_a_crash_holds_its_run_and_not_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def story() -> None:
        journal = MemoryJournal()
        context, work = a_loop(tmp_path, journal)
        number = await submitted(context, stub_text(tmp_path, service="--stub-hang"))
        journal.after_append = lambda _seq: crash(journal)
        with pytest.raises(Crash):
            await until_over_or_held(context, work, number)
        context, work = a_loop(tmp_path, MemoryJournal(journal.records))
        with monkeypatch.context() as patch:
            failing(stopping, "restore", times(1, error), patch)()
            assert (await until_over_or_held(context, work, number)).held
        assert context.ledger.state.runs[number].evaluation is not None
        assert context.ledger.state.runs[number].evaluation.announced
        context, work = a_loop(tmp_path, MemoryJournal(journal.records))
        await work.recover()
        assert not context.ledger.state.runs[number].evaluation.announced

    asyncio.run(story())


class Crash(BaseException):
    """The process ended here, as far as the test is concerned."""


def crash(journal: MemoryJournal) -> None:
    if isinstance(journal.records[-1].event, e.ServiceLaunched):
        journal.after_append = lambda _seq: None
        raise Crash


def test_a_launch_is_closed_as_soon_as_there_are_descriptors_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left of a service cannot be found without any: it must not be taken for gone."""
    monkeypatch.setattr("serviceoptd.evaluating.ledger.RETRY_AFTER", 0.01)
    journal = MemoryJournal()
    lack = failing(stopping, "stop", times(5, OSError(errno.EMFILE, "Too many open files")), monkeypatch)
    run = worked_on(tmp_path, journal, lack)
    assert run.outcome == "completed"
    assert left_over(journal.records) == {}
    assert_sound(journal.records)


def test_a_run_that_is_cancelled_ends_although_its_service_could_not_be_stopped_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(loop, "finish_evaluation", for_ever(PermissionError(errno.EACCES, "no")), monkeypatch)()

    async def story() -> None:
        journal = MemoryJournal()
        context, work = a_loop(tmp_path, journal)
        number = await submitted(context, stub_text(tmp_path))
        assert (await until_over_or_held(context, work, number)).held
        assert left_over(journal.records) == {}
        context, work = a_loop(tmp_path, MemoryJournal(journal.records))
        await control.cancel(context.ledger, context.ledger.state.runs[number], "")
        working = asyncio.ensure_future(work.run_forever())
        await asyncio.sleep(0.3)
        work.stop("seen enough")
        await working
        tries = of_type(context.ledger._journal.records, e.SurroundingsFailed)  # type: ignore[attr-defined]
        assert len(tries) == MOST  # and not one with each turn of the loop

    asyncio.run(story())


def test_the_directory_of_a_run_is_made_again_where_somebody_removed_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the plan and the spawn, which is where nobody looks."""
    plan = VllmBenchmark.plan

    def removed(self: VllmBenchmark, order: Any) -> Any:
        planned = plan(self, order)
        shutil.rmtree(tmp_path / "runs")
        return planned

    journal = MemoryJournal()
    run = worked_on(tmp_path, journal, lambda: monkeypatch.setattr(VllmBenchmark, "plan", removed))
    assert run.outcome == "completed"
    assert len(of_type(journal.records, e.MeasurementFinished)) == 2
