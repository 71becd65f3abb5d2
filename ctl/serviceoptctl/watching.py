"""A run followed to its end: through the daemon, or in this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from serviceopt_journal.documents.particles import Recommendation
from serviceopt_journal.documents.requests import Accepted, Submission
from serviceopt_journal.documents.runs import Run, Table
from serviceopt_journal.errors import ExitCode, NotFound
from serviceoptctl.displays import Display
from serviceoptctl.documents import Answer, Record
from serviceoptctl.errors import note, warn
from serviceoptctl.following import follow
from serviceoptctl.live import Live
from serviceoptctl.render.outlook import outlook
from serviceoptctl.render.recommendation import recommendation as render_recommendation
from serviceoptctl.render.text import to_json

if TYPE_CHECKING:
    from serviceopt_journal.codec import Recorded
    from serviceoptd.domain.state import Moment, RunState, State


@dataclass(frozen=True)
class Ended:
    """How a run ended, and everything that is said about it then."""

    run: Run
    recommendation: Answer[Recommendation] | None
    table: Table
    store_directory: str  # where the settings want the CSV file
    interrupted: bool = False  # by Ctrl-C or a signal, in this process; the run can be continued

    @property
    def exit_code(self) -> ExitCode:
        """The exit code that says it (docs/exit-codes.md)."""
        if self.run.held:
            return ExitCode.ENVIRONMENT
        if self.interrupted or self.run.outcome == "cancelled":
            return ExitCode.INTERRUPTED
        if self.run.outcome == "failed" or self.recommendation is None:
            return ExitCode.RUN_FAILED
        return ExitCode.OK if self.recommendation.document.feasible else ExitCode.INFEASIBLE


def watch(live: Live, run: str, display: Display) -> Ended:
    """Shows the run until it is over.

    Raises:
        NotFound: there is no such run.
        DaemonUnreachable: the daemon was lost and did not come back.
        KeyboardInterrupt: the user has seen enough; the run goes on.
    """
    # The number of the last event before the document: whatever happens after it is in the stream.
    after = live.status().document.seq
    document = live.run(run).document
    number = document.run
    if not over(document):
        with display:
            display.begin(lambda: live.run(str(number)).document)
            try:
                for record in follow(live, after=after, run=number, say=display.say):
                    display.show(record)
                    if record.type == "run_finished":
                        break
            except KeyboardInterrupt:
                display.say(f"run {number} goes on; `serviceoptctl watch {number}` shows it again")
                raise
        document = live.run(str(number)).document
    return ended(live, document)


def ended(live: Live, run: Run) -> Ended:
    """What there is to say of a run that is over."""
    name = str(run.run)
    try:
        best = live.best(name)
    except NotFound:
        best = None
    return Ended(run, best, live.table(name).document, _store_directory(live, run.run))


def standalone(submission: Submission, display: Display) -> Ended:
    """Does a run in this process, without a daemon.

    Raises:
        ServiceoptError: the configuration is not valid, a daemon holds the journal, ...
    """
    from serviceopt_journal.places import places
    from serviceoptctl.from_journal import told
    from serviceoptd.domain.documents import recommendation, run_document
    from serviceoptd.domain.table import table
    from serviceoptd.foreground import standalone as work

    latest: list[tuple[Moment, RunState]] = []
    shown = _Shown(display)

    def on_record(recorded: Recorded, state: State) -> None:
        number = getattr(recorded.event, "run", None)
        if number is not None:
            known = bool(latest)
            latest[:] = [(state.moment, state.runs[number])]
            if not known:
                shown.do(lambda: display.begin(lambda: run_document(latest[-1][1], now=latest[-1][0])))
        shown.do(lambda: display.show(Record.stored(recorded)))

    with shown:
        run, _ = work(submission, places=places(), on_record=on_record, on_accepted=shown.accepted)
    for failure in shown.failures:
        warn(f"the run was not shown to its end: {type(failure).__name__}: {failure}")
    now = latest[-1][0] if latest else ("", 0.0)
    best = recommendation(run)
    return Ended(
        run=run_document(run, now=now),
        recommendation=told(best) if best is not None else None,
        table=table(run),
        store_directory=run.settings.store_dir,
        interrupted=not run.over,
    )


class _Shown(ExitStack):
    """A run in this process on its display: what there is to know of it is said before the first of its records."""

    def __init__(self, display: Display) -> None:
        super().__init__()
        self.failures: list[Exception] = []
        self._display = display
        self._waiting: list[Callable[[], None]] | None = []  # until the run is accepted; None: it is

    def accepted(self, answer: Accepted) -> None:
        """Warnings and the outlook, and then the display with what has happened so far."""
        for warning in answer.warnings:
            warn(warning)
        waiting, self._waiting = self._waiting or [], None
        self.do(lambda: announce(self._display, answer))
        self.enter_context(self._display)
        for each in waiting:
            self.do(each)

    def do(self, what: Callable[[], None]) -> None:
        """Shows something; after a failure nothing more: a closed pipe or a defect must not harm the run."""
        if self._waiting is not None:
            self._waiting.append(what)
        elif not self.failures:
            try:
                what()
            except Exception as error:  # noqa: BLE001 - whatever it is, the run goes on
                self.failures.append(error)


def announce(display: Display, answer: Accepted) -> None:
    """Says what is to come, where something is due."""
    if answer.expected is not None:
        display.announce(outlook(answer.expected, time.time()))


def report(end: Ended, *, as_json: bool) -> None:
    """Says how the run ended, and what to deploy."""
    run, best = end.run, end.recommendation
    if as_json:
        # One line, like the records before it.
        click.echo(to_json({"run": run.run, "outcome": run.outcome, "best": best.told if best else None}))
        return
    number = run.run
    if run.held:
        warn(f"run {number} is held: {run.paused}; -lb (--load-breakpoint) goes on once the cause is fixed")
    elif end.interrupted:
        note(f"run {number} was interrupted; everything measured is kept, and -lb (--load-breakpoint) goes on with it")
    else:
        note(f"run {number} is over: {run.outcome}" + (f", {run.reason}" if run.reason else ""))
    if best is not None:
        click.echo()
        render_recommendation(best.document)
    else:
        nothing = "nothing has been measured yet" if end.interrupted and not run.held else "nothing could be measured"
        note(f"{nothing}; `serviceoptctl events --run {number}` shows what happened")


def over(run: Run) -> bool:
    """Whether the run has ended."""
    return run.finished is not None


def _store_directory(live: Live, number: int) -> str:
    from serviceoptctl.documents import Selection

    submitted = next(live.events(Selection(run=number, types=("run_submitted",))))
    return str(submitted.told["event"]["settings"]["store_dir"])
