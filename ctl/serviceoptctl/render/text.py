"""Text on its way to a terminal, a pipe or a program."""

from __future__ import annotations

import ast
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import click
import msgspec

from serviceopt_journal.unseen import visible, visible_json
from serviceoptctl.render.layout import folded, labelled_lines, laid_out


def safe(text: object) -> str:
    """Text of others (log lines, names), in which everything can be seen and nothing is obeyed by a terminal."""
    return visible(str(text))


def one_line(text: object) -> str:
    """A text on one line, without control characters."""
    return safe(" ".join(str(text).split()))


def to_json(document: object) -> str:
    """Compact JSON on one line; not-a-number and infinity become null."""
    return visible_json(msgspec.json.encode(document).decode())


def echo_json(document: object) -> None:
    """A document for a program: indented, since people read it too."""
    click.echo(visible_json(msgspec.json.format(msgspec.json.encode(document), indent=2).decode()))


def assignments(configuration: Mapping[str, Any]) -> str:
    """A configuration on one line: `MAX_NUM_SEQS=128 CONCURRENCY=64`."""
    return " ".join(f"{safe(name)}={value_text(value)}" for name, value in configuration.items())


def in_words(text: str) -> str:
    """A table that came as JSON or as Python shows it, as `name=value, table.name=value`; any other text as it is."""
    import json  # only what an engine or a user wrote needs it: whatever is ours is read by msgspec

    for read in (json.loads, ast.literal_eval):
        with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            found = read(text)
            return ", ".join(_flat(found)) if isinstance(found, dict | list) else one_line(text)
    return one_line(text)


def _flat(value: Any, name: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        told = " ".join(", ".join(_flat(inner)) for inner in value)
        yield f"{name}={told}" if name else told
    else:
        told = "none" if value is None else value_text(value)
        yield f"{safe(name)}={told}" if name else told


def value_text(value: object) -> str:
    """A parameter value as configuration files show it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.6g}" if isinstance(value, float) else one_line(value)


def facts(pairs: Iterable[tuple[str, str]]) -> None:
    """`label:  text` lines, aligned; pairs without text are left out."""
    shown = [(label, safe(text)) for label, text in pairs if text]
    for label, text in labelled_lines(shown, width()):
        click.echo((click.style(label, bold=True) if label.strip() else label) + text)


def width(*, of_errors: bool = False) -> int | None:
    """Columns of the terminal; None in a pipe, where nothing is folded. `of_errors`: where standard error goes."""
    stream = sys.stderr if of_errors else sys.stdout
    return shutil.get_terminal_size().columns if stream.isatty() else None


def say(line: str) -> None:
    """Prints a line, folded on a terminal: continued lines are indented."""
    click.echo(wrapped(line, width()))


def wrapped(text: str, room: int | None) -> str:
    """The lines of a text, folded to `room` columns, with what continues them indented; None: as they are."""
    return "\n".join("\n  ".join(_continued(line, room)) for line in text.split("\n"))


def _continued(line: str, room: int | None) -> list[str]:
    first, *more = folded(line, room)
    return [first, *(folded(" ".join(more), room - 2) if room is not None and more else [])]


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table; on a terminal as wide as that is, in a pipe whole and uncoloured."""
    layout = laid_out(headers, [[one_line(cell) for cell in row] for row in rows], width())
    for line in layout.headers:
        click.echo(click.style(line, bold=True))
    for line in layout.rows:
        click.echo(line)
