"""The command `serviceoptctl events`: what happened."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime

import click

from serviceoptctl.documents import LATEST, Record, Selection, Source
from serviceoptctl.errors import note
from serviceoptctl.following import POLL, follow
from serviceoptctl.options import run_number
from serviceoptctl.render.event_lines import TYPES, line
from serviceoptctl.render.text import say, to_json
from serviceoptctl.source import open_source

TAIL = 10  # events shown before following, as tail and journalctl do
_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d|w)\s*")


def moment(_context: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    """A span before now (`2h`, `1d 12h`) or a point in time in ISO 8601, as seconds since the epoch."""
    if value is None:
        return None
    text = value.strip()
    spans = _SPAN.findall(text)
    if spans and not _SPAN.sub("", text):
        return time.time() - sum(float(amount) * _UNITS[unit] for amount, unit in spans)
    try:
        return datetime.fromisoformat(text).timestamp()  # without an offset: local time
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text!r} is neither a span such as 2h or 30min nor a time such as 2026-03-01T14:00"
        ) from None


@click.command()
@click.option("-f", "--follow", "following", is_flag=True, help="Wait for further events, until Ctrl-C.")
@click.option("-n", "--lines", type=click.IntRange(min=1), metavar="N", help="Only the last N.  [with -f: 10]")
@click.option("--run", callback=run_number, metavar="RUN", help="Only those of this run.")
@click.option(
    "--type", "types", multiple=True, type=click.Choice(list(TYPES)), metavar="TYPE",
    help="Only those of this type (`serviceoptctl docs events`); may be repeated.",
)  # fmt: skip
@click.option("--since", callback=moment, metavar="WHEN", help="Only those since then: 2h, 30min, 2026-03-01T14:00.")
@click.option("--json", "as_json", is_flag=True, help="One record of JSON on each line.")
def events(
    following: bool, lines: int | None, run: str | None, types: tuple[str, ...], since: float | None, as_json: bool
) -> None:
    """Show what happened, like journalctl."""
    source = open_source()
    number = source.run(LATEST).document.run if run == LATEST else int(run) if run is not None else None
    newest = lines or (TAIL if following and since is None else None)
    show: Callable[[Record], None] = _as_json if as_json else _line
    # Taken before the events are read: what happens meanwhile is shown by both, and left out once by its number.
    after = source.status().document.seq if following else 0
    last = 0
    for record in source.events(Selection(run=number, types=types, since=since, newest=newest)):
        show(record)
        last = record.seq
    if not following:
        return
    sys.stdout.flush()
    for record in _further(source, Selection(after=max(after, last), run=number, types=types)):
        show(record)
        sys.stdout.flush()


def _as_json(record: Record) -> None:
    click.echo(to_json(record.told))


def _line(record: Record) -> None:
    say(line(record))


def _further(source: Source, selection: Selection) -> Iterator[Record]:
    from serviceoptctl.live import Live

    if isinstance(source, Live):
        yield from follow(source, after=selection.after, run=selection.run, types=selection.types, say=note)
    after = selection.after
    while True:
        for record in source.events(Selection(after=after, run=selection.run, types=selection.types)):
            yield record
            after = record.seq
        time.sleep(POLL)
