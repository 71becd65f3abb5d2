"""Text on its way to a terminal, a pipe or a program."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from unicodedata import combining, east_asian_width

import click
import msgspec

_ESCAPED = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}


def safe(text: object) -> str:
    """Text of others (log lines, names) without the control characters that a terminal would obey."""
    return str(text).translate(_ESCAPED)


def one_line(text: object) -> str:
    """A text on one line, without control characters."""
    return safe(" ".join(str(text).split()))


def to_json(document: object) -> str:
    """Compact JSON on one line; not-a-number and infinity become null."""
    return msgspec.json.encode(document).decode()


def echo_json(document: object) -> None:
    """A document for a program: indented, since people read it too."""
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


def assignments(configuration: Mapping[str, Any]) -> str:
    """A configuration on one line: `MAX_NUM_SEQS=128 CONCURRENCY=64`."""
    return " ".join(f"{safe(name)}={value_text(value)}" for name, value in configuration.items())


def value_text(value: object) -> str:
    """A parameter value as configuration files show it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.6g}" if isinstance(value, float) else one_line(value)


def facts(pairs: Iterable[tuple[str, str]]) -> None:
    """`label:  text` lines, aligned; pairs without text are left out."""
    shown = [(label, text) for label, text in pairs if text]
    width = max((len(label) for label, _ in shown), default=0) + 1
    room = _room(width + 2)
    for label, text in shown:
        first, *more = (part for line in safe(text).split("\n") for part in _folded(line, room))
        click.echo(click.style(f"{label}:".ljust(width), bold=True) + "  " + first)
        for line in more:
            click.echo(" " * (width + 2) + line)


def _room(indent: int) -> int | None:
    """Columns that are left on the terminal; None in a pipe, where nothing is folded."""
    if not sys.stdout.isatty():
        return None
    return max(shutil.get_terminal_size().columns - indent, 30)


def _folded(line: str, room: int | None) -> list[str]:
    if room is None:
        return [line]
    return textwrap.wrap(line, room, break_long_words=False, break_on_hyphens=False) or [""]


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table by rich on a terminal; columns two spaces apart, whole and uncoloured, everywhere else."""
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        grid = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
        for header in headers:
            grid.add_column(header, overflow="fold")
        for row in rows:
            grid.add_row(*(Text(one_line(cell)) for cell in row))
        Console().print(grid)
        return
    lines = [list(headers), *([one_line(cell) for cell in row] for row in rows)]
    widths = [max(columns(line[column]) for line in lines) for column in range(len(headers))]
    for line in lines:
        padded = (cell + " " * (width - columns(cell)) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(padded).rstrip())


def columns(text: str) -> int:
    """How wide a text stands on a terminal: Chinese characters take two columns, combining marks none."""
    wide = sum(east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(combining(character) != 0 for character in text)
