"""A run followed to its end: through the daemon, or in this process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
import msgspec

from serviceopt_journal.errors import ExitCode, NotFound
from serviceoptctl.displays import Display
from serviceoptctl.errors import note, warn
from serviceoptctl.following import follow
from serviceoptctl.live import Live
from serviceoptctl.render.recommendation import recommendation as render_recommendation
from serviceoptctl.render.text import to_json

if TYPE_CHECKING:
    from serviceopt_journal.codec import Recorded
    from serviceoptd.domain.state import RunState, State

Document = dict[str, Any]


@dataclass(frozen=True)
class Ended:
    """How a run ended, and everything that is said about it then."""

    document: Document
    recommendation: Document | None
    table: Document  # columns and rows
    store_directory: str  # where the settings want the CSV file
    interrupted: bool = False  # by Ctrl-C or a signal, in this process; the run can be continued

    @property
    def exit_code(self) -> ExitCode:
        """The exit code that says it (docs/exit-codes.md)."""
        outcome = self.document["outcome"]
        if self.document["held"]:
            return ExitCode.ENVIRONMENT
        if self.interrupted or outcome == "cancelled":
            return ExitCode.INTERRUPTED
        if outcome == "failed" or self.recommendation is None:
            return ExitCode.RUN_FAILED
        return ExitCode.OK if self.recommendation["feasible"] else ExitCode.INFEASIBLE


def watch(live: Live, run: str, display: Display) -> Ended:
    """Shows the run until it is over.

    Raises:
        NotFound: there is no such run.
        DaemonUnreachable: the daemon was lost and did not come back.
        KeyboardInterrupt: the user has seen enough; the run goes on.
    """
    # The number of the last event before the document: whatever happens after it is in the stream.
    after = live.status()["seq"]
    document = live.run(run)
    number: int = document["run"]
    if not over(document):
        with display:
            display.begin(lambda: live.run(str(number)))
            try:
                for record in follow(live, after=after, run=number, say=display.say):
                    display.show(record)
                    if record["event"]["type"] == "run_finished":
                        break
            except KeyboardInterrupt:
                display.say(f"run {number} goes on; `serviceoptctl watch {number}` shows it again")
                raise
        document = live.run(str(number))
    return ended(live, document)


def ended(live: Live, document: Document) -> Ended:
    """What there is to say of a run that is over."""
    number = document["run"]
    try:
        best = live.best(str(number))
    except NotFound:
        best = None
    return Ended(document, best, live.table(str(number)), _store_directory(live, number))


def standalone(submission: Document, display: Display) -> Ended:
    """Does a run in this process, without a daemon.

    Raises:
        ServiceoptError: the configuration is not valid, a daemon holds the journal, ...
    """
    from serviceopt_journal.places import places
    from serviceoptd.domain.documents import recommendation, run_document
    from serviceoptd.domain.table import columns, rows
    from serviceoptd.foreground import standalone as work

    latest: list[tuple[float, RunState]] = []
    failures: list[Exception] = []

    def on_record(recorded: Recorded, state: State) -> None:
        number = getattr(recorded.event, "run", None)
        if number is not None:
            if not latest:
                display.begin(lambda: _plain(run_document(latest[-1][1], now=latest[-1][0])))
            latest[:] = [(recorded.time, state.runs[number])]
        if not failures:
            try:
                display.show(_plain(recorded))
            except Exception as error:  # noqa: BLE001 - a closed pipe or a defect of the display must not harm the run
                failures.append(error)

    with display:
        run, answer = work(submission, places=places(), on_record=on_record)
    for failure in failures:
        warn(f"the run was not shown to its end: {type(failure).__name__}: {failure}")
    for warning in answer.get("warnings", ()):
        warn(str(warning))
    now = latest[-1][0] if latest else run.finished or run.submitted
    best = recommendation(run)
    return Ended(
        document=_plain(run_document(run, now=now)),
        recommendation=_plain(best) if best is not None else None,
        table=_plain({"columns": columns(run), "rows": rows(run)}),
        store_directory=run.settings.store_dir,
        interrupted=not run.over,
    )


def report(end: Ended, *, as_json: bool) -> None:
    """Says how the run ended, and what to deploy."""
    document = end.document
    if as_json:
        # One line, like the records before it.
        click.echo(to_json({"run": document["run"], "outcome": document["outcome"], "best": end.recommendation}))
        return
    number, reason = document["run"], document["reason"]
    if document["held"]:
        warn(f"run {number} is held: {document['paused']}; -lb (--load-breakpoint) goes on when that is mended")
    elif end.interrupted:
        note(f"run {number} was interrupted; everything measured is kept, and -lb (--load-breakpoint) goes on with it")
    else:
        note(f"run {number} is over: {document['outcome']}" + (f", {reason}" if reason else ""))
    if end.recommendation is not None:
        click.echo()
        render_recommendation(end.recommendation)
    else:
        note(f"nothing could be measured; `serviceoptctl events --run {number}` tells why")


def over(document: Mapping[str, Any]) -> bool:
    """Whether the run has ended."""
    return document["finished"] is not None


def _store_directory(live: Live, number: int) -> str:
    from serviceoptctl.documents import Selection

    submitted = next(live.events(Selection(run=number, types=("run_submitted",))))
    return str(submitted["event"]["settings"]["store_dir"])


def _plain(document: Any) -> Document:
    plain: Document = msgspec.json.decode(msgspec.json.encode(document))
    return plain
