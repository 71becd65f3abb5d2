"""Runs that were interrupted, paused, held or stopped as a process: every view of them says the same."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from click.testing import Result
from msgspec.structs import replace

from builders import BEGIN, Story, a_finished_story, a_journal, an_unfinished_story, some_metrics, some_settings
from patience import HANG
from serviceopt_journal import events as e
from serviceopt_journal.documents.runs import Table
from serviceopt_journal.proof import Proof
from serviceoptctl.from_journal import FromJournal
from serviceoptctl.render.outlook import outlook
from serviceoptctl.render.run import counted, spent, standing
from serviceoptctl.watching import Ended, report
from serviceoptd.domain.documents import configurations_left, seconds_left
from serviceoptd.domain.state import RunState
from serviceoptd.submitting.expectation import expected

Invoke = Callable[..., Result]
NOT_CERTAIN = Proof(
    confidence=0.95, estimate=900.0, interval=None, noise=None, slos=(), success_rate=1.0, gain=None,
    gain_interval=None, measurements=1, total=1, finalists=(1,), told_apart=True, binding="mean TTFT <= 1 s",
)  # fmt: skip


def not_certain() -> Iterator[e.Event]:
    """A run whose best met every SLO when it was measured, which is not declared."""
    story = Story(settings=some_settings())
    yield from story.submitted()
    yield from story.measured(some_metrics(900, ttft=0.4), MAX_NUM_SEQS=256, CONCURRENCY=100)
    yield e.ConfirmationRequested(run=1, particle=1, round=1, reason="one of the best of the search")
    yield from story.ready()
    yield from story.measuring()
    yield e.MeasurementFinished(
        run=1, particle=1, evaluation=2, measurement=1, attempt=1, metrics=some_metrics(900, ttft=0.4), seconds=90.0
    )
    yield from story.stopped()
    for event in story.finished(recommended=1, feasible=False):
        yield replace(event, proof=NOT_CERTAIN)  # type: ignore[type-var]


def test_the_list_of_runs_does_not_call_broken_what_the_status_calls_not_certain(invoke: Invoke, state: Path) -> None:
    a_journal(state, not_certain())
    listed = invoke("runs").stdout.splitlines()[1].split()
    assert "unsure" in listed
    assert "broken" not in listed
    assert "not certain to meet every SLO" in invoke("status").stdout


def test_a_paused_run_has_no_hour_at_which_it_ends(invoke: Invoke, state: Path) -> None:
    a_journal(state, [*an_unfinished_story(), e.RunPaused(run=1, reason="lunch")])
    paused = FromJournal.open(state).run("1").document
    told = spent(paused, now=BEGIN), standing(paused, BEGIN)
    assert all(" left" in each and "until" not in each for each in told)
    assert "(lunch)" in invoke("status").stdout


def test_one_of_a_kind_is_not_counted_in_the_plural(state: Path) -> None:
    a_journal(state, not_certain())
    assert counted(FromJournal.open(state).run("1").document).endswith(", 1 finalist, 1 confirmation")


def test_a_configuration_that_is_measured_again_is_among_those_that_are_left(state: Path) -> None:
    a_journal(state, an_unfinished_story())
    source = FromJournal.open(state)
    run, document = source.state.runs[1], source.run("1").document
    assert document.current is not None
    finished = document.counts.measured + document.counts.failed
    assert configurations_left(run) == run.settings.budget.evaluations - finished
    assert expected(run, source.state).launches == configurations_left(run) + run.settings.proof.measurements


def test_the_time_that_is_left_holds_the_search_for_the_next_configuration_too(state: Path) -> None:
    """It is measured in no time, as by a simulator, and thought about for long."""
    story = Story(settings=some_settings())
    a_journal(state, [*story.submitted(), *story.measured(some_metrics(900), MAX_NUM_SEQS=256, CONCURRENCY=100)])
    run = FromJournal.open(state).state.runs[1]
    quick = {number: replace(particle, seconds=0.01) for number, particle in run.particles.items()}
    thoughtful = replace(run, particles=quick, active_seconds=60.0)
    left = configurations_left(thoughtful) + run.settings.proof.measurements
    assert seconds_left(thoughtful) == pytest.approx(60.0 * left)


@pytest.mark.parametrize(
    "command", [("best",), ("events",), ("runs",), ("show", "--particles"), ("status",)], ids=" ".join
)
@pytest.mark.parametrize("columns", [60, 80, 100])
def test_on_a_terminal_nothing_but_the_command_to_copy_is_wider_than_it(
    invoke: Invoke, state: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], columns: int
) -> None:
    a_journal(state, not_certain())
    for module in ("text", "recommendation"):
        monkeypatch.setattr(f"serviceoptctl.render.{module}.width", lambda **_: columns)
    lines = invoke(*command).stdout.splitlines()
    shown = lines[: lines.index("To deploy it, for a load up to CONCURRENCY 100:")] if command == ("best",) else lines
    assert [line for line in shown if len(line) > columns] == []


def test_a_run_that_was_interrupted_before_anything_was_measured_is_not_said_to_have_failed(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    story = Story()
    a_journal(state, story.submitted())
    run = FromJournal.open(state).run("1").document
    report(Ended(run, None, Table(columns=(), rows=()), "", interrupted=True), as_json=False)
    said = " ".join(capsys.readouterr().err.split())
    assert "run 1 was interrupted; everything measured is kept" in said
    assert "nothing has been measured yet" in said
    assert "could be measured" not in said


def fresh(number: int) -> Iterator[e.Event]:
    """A run of an identity that no other one has."""
    for event in Story(run=number).submitted():
        yield replace(event, measurement_identity="new") if isinstance(event, e.RunSubmitted) else event


def launches_of(run: RunState) -> list[float]:
    return [p.seconds for p in run.particles.values() if p.admitted and p.measurements and p.seconds]


def test_without_history_the_outlook_tells_what_runs_of_other_identities_took(state: Path) -> None:
    a_journal(state, a_finished_story(), fresh(3))
    a_journal(state / "slow", a_finished_story(), step=30.0)
    folded = FromJournal.open(state).state
    slow = replace(FromJournal.open(state / "slow").state.runs[1], number=2)
    runs = {1: folded.runs[1], 2: slow, 3: folded.runs[3]}
    found = expected(folded.runs[3], replace(folded, runs=runs))
    assert (found.source, found.others) == ("limits", (1, 2))
    assert found.between == pytest.approx([found.launches * fmean(launches_of(runs[number])) for number in (1, 2)])
    told = outlook(found, BEGIN)
    assert "; between " in told
    assert " if each launch takes as long as in run 1, 2, which differ; " in told
    assert "at most by the time limits, until " in told
    assert "nothing was measured so far" not in told


def test_a_single_run_of_another_identity_gives_the_range_of_its_launches(state: Path) -> None:
    a_journal(state, a_finished_story(), fresh(2))
    folded = FromJournal.open(state).state
    found = expected(folded.runs[2], folded)
    spent = launches_of(folded.runs[1])
    assert found.between == pytest.approx((found.launches * min(spent), found.launches * max(spent)))
    assert "in run 1, which differs; " in outlook(found, BEGIN)


LISTENING = """
import os, signal, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
os.kill(os.getpid(), signal.SIGSTOP)
"""


@pytest.fixture
def a_stopped_daemon(state: Path) -> Iterator[int]:
    """Its pid: it listens, and was stopped as by Ctrl-Z."""
    state.mkdir(exist_ok=True)
    process = subprocess.Popen([sys.executable, "-c", LISTENING, str(state / "serviceoptd.sock")])
    stat = Path(f"/proc/{process.pid}/stat")
    deadline = time.monotonic() + HANG
    while stat.read_text().rpartition(")")[2].split()[0] != "T" and time.monotonic() < deadline:
        time.sleep(0.01)
    yield process.pid
    process.kill()
    process.wait()


@pytest.mark.parametrize("command", ["status", "runs", "show", "best", "export", "events"])
def test_beside_a_stopped_daemon_everything_is_read_from_the_journal_and_it_is_said(
    invoke: Invoke, state: Path, a_stopped_daemon: int, command: str
) -> None:
    a_journal(state, an_unfinished_story())
    started = time.monotonic()
    result = invoke(command)
    assert time.monotonic() - started < HANG / 2
    assert result.exit_code == 0, result.output
    assert f"process {a_stopped_daemon} answers nobody, so this is read from the journal" in result.stderr
    assert f"`kill -CONT {a_stopped_daemon}`, lets it go on" in result.stderr
    if command == "status":
        assert f"stopped, pid {a_stopped_daemon} (read from the journal)" in result.stdout
        assert "interrupted, goes on when its process does" in result.stdout


@pytest.mark.parametrize("command", [("pause",), ("cancel",), ("run", "-e", "simulated")])
def test_what_only_a_daemon_can_do_says_at_once_that_it_is_stopped(
    invoke: Invoke, a_stopped_daemon: int, command: tuple[str, ...]
) -> None:
    result = invoke(*command)
    assert result.exit_code == 5
    assert f"is stopped, as Ctrl-Z does: process {a_stopped_daemon} answers nobody" in result.stderr


def test_a_connection_to_a_living_daemon_is_used(invoke: Invoke, daemon: Callable[..., object]) -> None:
    daemon(an_unfinished_story())
    result = invoke("status")
    assert "stopped" not in result.output


@pytest.mark.parametrize("file", ["journal.db", "journal.anchor"])
@pytest.mark.parametrize("command", ["status", "export"])
def test_a_journal_that_may_not_be_read_is_told_alike_whichever_of_its_files_it_is(
    invoke: Invoke, state: Path, monkeypatch: pytest.MonkeyPatch, file: str, command: str
) -> None:
    usual = Path.open

    def refused(path: Path, *arguments: Any, **more: Any) -> Any:
        if path.name == file:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return usual(path, *arguments, **more)

    a_journal(state)
    monkeypatch.setattr(Path, "open", refused)
    result = invoke(command)
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.startswith(f"error: no permission to read the journal in {state}\nhint: ask to be added")
