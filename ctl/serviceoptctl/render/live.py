"""The live view of a run on a terminal."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.text import Text

from serviceopt_journal.documents.runs import Run
from serviceopt_journal.errors import ServiceoptError
from serviceoptctl.documents import Record
from serviceoptctl.errors import note
from serviceoptctl.render.configuration_lines import Remarks
from serviceoptctl.render.event_lines import FAILURES, NOTEWORTHY, short_line
from serviceoptctl.render.layout import GAP, folded
from serviceoptctl.render.run import best_label, best_line, counted, engine, phase, spent, title
from serviceoptctl.render.text import assignments, one_line

REFRESHES = 4  # a second; the document is asked for no more often
RECENT, RECENT_FAILURES = 4, 3  # lines
BAR_WIDTH = 40  # columns
LEAST = 12  # columns that text keeps beside its label, however narrow the terminal is


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
        self._remarks = Remarks()
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

    def announce(self, message: str) -> None:
        """Says what is to come, above the picture."""
        note(message)

    def show(self, given: Record) -> None:
        """Takes one more record into the display."""
        record = self._remarks.once(given)
        kind = record.type
        if kind in NOTEWORTHY:
            self._recent.append(short_line(record))
        if kind in FAILURES:
            self._failures.append(short_line(record))
        self._notice = ""
        self._stale = True

    def say(self, message: str) -> None:
        """Shows a remark about the watching itself."""
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
        return picture(
            self._document,
            since,
            [*self._recent],
            [*self._failures],
            self._notice,
            width=self._width(),
            now=time.time(),
        )

    def _width(self) -> int:
        return self._live.console.width


def picture(
    run: Run, since: float, recent: list[str], failures: list[str], notice: str, *, width: int, now: float
) -> RenderableType:
    """What is shown `since` seconds after the document was true, at the moment `now`, in `width` columns."""
    working = run.status in ("running", "cancelling")
    passed = since if working else 0.0
    rows = [
        ("run", f"{title(run)}, {run.status}: {engine(run)}", ""),
        ("progress", counted(run), ""),
        ("time", spent(run, passed=passed, now=now), ""),
    ]
    if under_way := run.current:
        rows += [
            ("now", phase(under_way, under_way.seconds + passed), ""),
            ("trying", assignments(under_way.configuration), ""),
            ("service log", one_line(under_way.service_log), ""),
            ("client log", one_line(under_way.client_log), ""),
        ]
    rows.append((best_label(run), one_line(best_line(run)), "green" if run.feasible else ""))
    for label, lines, style in (("failures", failures, "red"), ("recent", recent, "dim")):
        rows += [(label if index == 0 else "", line, style) for index, line in enumerate(lines)]
    return Group(
        *_drawn([row for row in rows if row[1]], width, run), *([Text(notice, style="yellow")] if notice else [])
    )


def _drawn(rows: Sequence[tuple[str, str, str]], width: int, run: Run) -> Iterator[RenderableType]:
    """The rows with their labels, folded as everything else is; the bar stands below the first."""
    longest = max(len(label) for label, _, _ in rows)
    for number, (label, text, style) in enumerate(rows):
        for line, part in enumerate(folded(text, max(LEAST, width - longest - GAP))):
            shown = ("" if line else label).ljust(longest + GAP)
            yield Text.assemble((shown, "bold"), (part, style), no_wrap=True, overflow="crop")
        if number == 0:
            room = min(BAR_WIDTH, max(LEAST, width - longest - GAP))
            bar = ProgressBar(total=max(1, run.budget), completed=run.admitted, width=room)
            yield Padding(bar, (0, 0, 0, longest + GAP))
