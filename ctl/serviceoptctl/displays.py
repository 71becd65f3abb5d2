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
from serviceoptctl.documents import Document
from serviceoptctl.render.event_lines import NOTEWORTHY, short_line
from serviceoptctl.render.run import standing
from serviceoptctl.render.text import to_json
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

    def show(self, record: Document) -> None:
        """Takes one more record into the display."""

    def say(self, message: str) -> None:
        """Something about the watching itself."""


class _Plain:
    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        return

    def begin(self, ask: Ask) -> None:
        return

    def say(self, message: str) -> None:
        click.echo(message, err=True)


class LineDisplay(_Plain):
    """One line for each event that somebody who waits wants to read, and one on how the run stands for each evaluation."""

    def __init__(self) -> None:
        self._ask: Ask | None = None

    def begin(self, ask: Ask) -> None:
        self._ask = ask

    def show(self, record: Document) -> None:
        kind = record["event"]["type"]
        if kind in NOTEWORTHY:
            click.echo(short_line(record, with_run=True))
        if kind == "evaluation_finished" and self._ask is not None:
            # A lost daemon is met, and waited for, by whoever follows the events.
            with suppress(DaemonUnreachable):
                click.echo(f"{clock(record['time'])} {standing(self._ask(), record['time'])}")
        sys.stdout.flush()


class JsonDisplay(_Plain):
    """Every record as a line of JSON."""

    def show(self, record: Document) -> None:
        click.echo(to_json(record))
        sys.stdout.flush()


class QuietDisplay(_Plain):
    """A display that shows only the end."""

    def show(self, record: Document) -> None:
        return


def display(*, as_json: bool = False, quiet: bool = False, plain: bool = False) -> Display:
    """The one that fits where standard output goes. `plain`: never the live one, since a log is written beside it."""
    if as_json:
        return JsonDisplay()
    if quiet:
        return QuietDisplay()
    if sys.stdout.isatty() and not plain:
        from serviceoptctl.render.live import LiveDisplay

        return LiveDisplay()
    return LineDisplay()
