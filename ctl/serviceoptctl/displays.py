"""How a run is shown while it goes on: live on a terminal, a line for each event in a pipe, JSON for a program."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Protocol, Self

import click

from serviceopt_journal.documents.runs import Run
from serviceopt_journal.errors import DaemonUnreachable
from serviceoptctl.documents import Record
from serviceoptctl.errors import note
from serviceoptctl.render.configuration_lines import ConfigurationLines, Remarks
from serviceoptctl.render.event_lines import NOTEWORTHY, short_line
from serviceoptctl.render.run import standing
from serviceoptctl.render.text import say, to_json
from serviceoptctl.render.units import clock

Ask = Callable[[], Run]
"""Gives the run's present document; may raise ServiceoptError."""


class Display(Protocol):
    """Something that records are shown on, in a `with` block."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None: ...

    def begin(self, ask: Ask) -> None:
        """The run is known from here on."""

    def announce(self, message: str) -> None:
        """What is to come, said before it begins."""

    def show(self, record: Record) -> None:
        """Takes one more record into the display."""

    def say(self, message: str) -> None:
        """Shows a remark about the watching itself, such as a daemon that went away."""


class _Plain:
    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        return

    def begin(self, ask: Ask) -> None:
        return

    def announce(self, message: str) -> None:
        return

    def say(self, message: str) -> None:
        note(message)


class LineDisplay(_Plain):
    """One line for each configuration, and one for what is of the whole run."""

    def __init__(self) -> None:
        self._ask: Ask | None = None
        self._lines, self._remarks = ConfigurationLines(), Remarks()

    def begin(self, ask: Ask) -> None:
        self._ask = ask
        if (run := self._run()) is not None:
            self._lines.begin(run)

    def announce(self, message: str) -> None:
        note(message)

    def show(self, record: Record) -> None:
        if self._lines.due(record):
            say(self._lines.line(record.time, self._run()))
        for line in self._lines.take(self._remarks.once(record)):
            say(line)
        sys.stdout.flush()

    def _run(self) -> Run | None:
        # A lost daemon is met, and waited for, by whoever follows the events.
        with suppress(DaemonUnreachable):
            return self._ask() if self._ask is not None else None
        return None


class EventDisplay(LineDisplay):
    """One line for each event that somebody who waits wants to read, and one on how the run stands for each evaluation."""

    def show(self, given: Record) -> None:
        record = self._remarks.once(given)
        kind = record.type
        if kind in NOTEWORTHY:
            say(short_line(record, with_run=True))
        if kind == "evaluation_finished" and (run := self._run()) is not None:
            say(f"{clock(record.time)} {standing(run, record.time)}")
        sys.stdout.flush()


class JsonDisplay(_Plain):
    """Every record as a line of JSON."""

    def show(self, record: Record) -> None:
        click.echo(to_json(record.told))
        sys.stdout.flush()


class QuietDisplay(_Plain):
    """A display that shows only the end."""

    def show(self, record: Record) -> None:
        return


def display(*, as_json: bool = False, quiet: bool = False, plain: bool = False, verbose: bool = False) -> Display:
    """The one that fits where standard output goes.

    Args:
        as_json: for a program.
        quiet: nothing but the end.
        plain: never the live one, since a log is written beside it.
        verbose: a line for each event.
    """
    if as_json:
        return JsonDisplay()
    if quiet:
        return QuietDisplay()
    if verbose:
        return EventDisplay()
    if sys.stdout.isatty() and not plain:
        from serviceoptctl.render.live import LiveDisplay

        return LiveDisplay()
    return LineDisplay()
