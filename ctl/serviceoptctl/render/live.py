"""The live view of a run on a terminal."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from serviceopt_journal.documents.runs import Run
from serviceopt_journal.errors import ServiceoptError
from serviceoptctl.documents import Document
from serviceoptctl.render.event_lines import FAILURES, NOTEWORTHY, short_line
from serviceoptctl.render.run import best_line, counted, engine, phase, title
from serviceoptctl.render.text import assignments, one_line
from serviceoptctl.render.units import duration

REFRESHES = 4  # a second; the document is asked for no more often
RECENT, RECENT_FAILURES = 4, 3  # lines
BAR_WIDTH = 40  # columns


class LiveDisplay:
    """A `Display` that redraws itself. The document is fetched when it is drawn, and only after something happened."""

    def __init__(self, console: Console | None = None) -> None:
        self._ask: Callable[[], Run] | None = None
        self._document: Run | None = None
        self._fetched = 0.0
        self._stale = True
        self._recent: deque[str] = deque(maxlen=RECENT)
        self._failures: deque[str] = deque(maxlen=RECENT_FAILURES)
        self._notice = ""
        # Last: it draws at once.
        self._live = Live(
            console=console or Console(), get_renderable=self._draw, refresh_per_second=REFRESHES, transient=False
        )

    def __enter__(self) -> Self:
        self._live.start(refresh=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._live.stop()

    def begin(self, ask: Callable[[], Run]) -> None:
        """The run is known from here on."""
        self._ask = ask

    def show(self, record: Document) -> None:
        """Takes one more record into the display."""
        kind = record["event"]["type"]
        if kind in NOTEWORTHY:
            self._recent.append(short_line(record))
        if kind in FAILURES:
            self._failures.append(short_line(record))
        self._notice = ""
        self._stale = True

    def say(self, message: str) -> None:
        """Something about the watching itself."""
        self._notice = message
        self._stale = True

    def _draw(self) -> RenderableType:
        if self._stale and self._ask is not None:
            self._stale = False
            try:
                self._document, self._fetched = self._ask(), time.monotonic()
            except ServiceoptError as error:
                # The picture stays as it was; whoever follows the events meets the same error and handles it.
                self._notice = self._notice or error.message
        if self._document is None:
            return Text(self._notice or "waiting for the run to begin")
        # With a notice nobody knows whether the run goes on: its clock stands still.
        since = 0.0 if self._notice else time.monotonic() - self._fetched
        return picture(self._document, since, [*self._recent], [*self._failures], self._notice)


def picture(run: Run, since: float, recent: list[str], failures: list[str], notice: str) -> RenderableType:
    """What is shown `since` seconds after the document was true."""
    working = run.status in ("running", "cancelling")
    passed = since if working else 0.0
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("run", Text(f"{title(run)}, {run.status}: {engine(run)}"))
    grid.add_row("", ProgressBar(total=max(1, run.budget), completed=run.admitted, width=BAR_WIDTH))
    grid.add_row("progress", Text(counted(run)))
    grid.add_row("time", Text(_time(run, passed)))
    if now := run.current:
        grid.add_row("now", Text(phase(now, now.seconds + passed)))
        grid.add_row("trying", Text(assignments(now.configuration)))
        for label, path in (("service log", now.service_log), ("client log", now.client_log)):
            if path:
                grid.add_row(label, Text(one_line(path)))
    grid.add_row("best", Text(one_line(best_line(run)), style="green" if run.feasible else ""))
    for label, lines in (("failures", failures), ("recent", recent)):
        for index, line in enumerate(lines):
            grid.add_row(label if index == 0 else "", Text(line, style="red" if label == "failures" else "dim"))
    return Group(grid, Text(notice, style="yellow")) if notice else grid


def _time(run: Run, passed: float) -> str:
    used = f"{duration(run.active_seconds + passed)} used"
    left = run.seconds_left
    return f"{used}, about {duration(max(0.0, left - passed))} left" if left is not None else used
