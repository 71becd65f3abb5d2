"""Where text is broken when a terminal is narrow: between words, in paths behind a slash, and never inside a number.

Pure: takes the text and the columns that there are, returns lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from unicodedata import combining, east_asian_width

GAP = 2  # columns between the columns of a table
NARROWEST = 16  # columns that a cell of several words keeps; a table that cannot grant it is shown row by row
LONGEST_WORD = 28  # columns; longer ones (paths, mostly) may be broken where a table is too wide
LEAST_BESIDE_LABELS = 24  # columns; with fewer the text stands below its label

# Texts and not compiled patterns: in a pipe, and where everything fits, they are never used; `re` keeps what it compiled.
_UNITS = (
    r"(%|ms|s|min|h|d|(k?tok|req|tokens|requests|ktok)/(s|min)|[KMGT]i?B|times|confidence"
    r"|configurations?|launches|confirmations?|requests?|finalists?)"
)
_QUANTITY = rf"(?<![^\s(\[])([<>=~+-]*\d[\d.,:]*) (?={_UNITS}([\s,;:.)\]]|$))"
_COUNTED = (
    r"(?<![^\s(\[])((mean|p\d[\d.]*|particle|run|evaluation|[<>]=?)) (?=#?\d)"  # what belongs to the number after it
)
_JOINED = "\u2060"  # a word joiner: stands for a space that is not to be broken at
_IDEOGRAPH = "\u2e80-\u3000\u3040-\u9fff\uac00-\ud7af\uf900-\ufaff"
_CLOSING = r")\]},.;:!?\u3001\u3002\uff09\uff0c\uff0e\uff1a\uff1b\uff01\uff1f\u300b\u300d\u300f\u3011"  # begins no line
_BREAKS = (
    r"(?<=/)(?=.)",
    r"(?<=[_=;:&?-])(?=.)|(?<=[,.])(?=\D)",
    rf"(?<=[{_IDEOGRAPH}])(?=[^{_CLOSING}])|(?<=.)(?=[{_IDEOGRAPH}])",
    r"(?<=\D)(?=\d)|(?<=\d)(?=[^\W\d])",
)


class Layout(NamedTuple):
    """Lays out the rows of a table as lines."""

    headers: list[str]  # empty where every row is shown by itself, with its headers
    rows: list[str]


def columns(text: str) -> int:
    """How wide a text stands on a terminal: Chinese characters take two columns, combining marks none."""
    wide = sum(east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(combining(character) != 0 for character in text)


def folded(line: str, room: int | None) -> list[str]:
    """A line as lines of at most `room` columns; None: as it is.

    A number stays with its unit. A word that is too long is broken behind a slash, else behind another mark that is
    not inside a number, and only where there is none, anywhere.
    """
    if room is None or columns(line) <= room:
        return [line]
    lines, current = [], line[: len(line) - len(line.lstrip())]
    begun = False
    for word in _words(line):
        separate = [word] if columns(word) <= room else list(_packed(word, room))
        for number, piece in enumerate(separate):
            longer = f"{current} {piece}" if begun else current + piece
            if begun and (number > 0 or columns(longer) > room):
                lines.append(current)
                longer = piece
            current, begun = longer, True
    return [*lines, current]


def laid_out(headers: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> Layout:
    """A table in at most `width` columns (None: as wide as it is), columns two spaces apart.

    Cells are folded where they do not fit; where even that is too wide, every row is shown by itself.
    """
    natural = [max(columns(line[column]) for line in (headers, *rows)) for column in range(len(headers))]
    widths = natural if width is None else _shrunk(headers, rows, natural, width)
    if widths is None:
        return Layout([], list(_by_row(headers, rows, width or 0)))
    return Layout(_row(headers, widths), [line for row in rows for line in _row(row, widths)])


def labelled_lines(pairs: Sequence[tuple[str, str]], width: int | None) -> Iterator[tuple[str, str]]:
    """`label:` and text for each line, aligned; on a narrow terminal a label stands above its text."""
    longest = max((columns(label) for label, _ in pairs), default=0) + 1
    room = None if width is None else width - longest - GAP
    below = room is not None and room < LEAST_BESIDE_LABELS
    for label, text in pairs:
        told = f"{label}:"
        if below and width is not None:
            yield told, ""
            yield from (("  ", line) for part in text.split("\n") for line in folded(part, width - GAP))
            continue
        for line in (line for part in text.split("\n") for line in folded(part, room)):
            yield told + " " * (longest + GAP - columns(told)), line
            told = ""


def _by_row(headers: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    for number, row in enumerate(rows):
        if number:
            yield ""
        for label, text in labelled_lines([(h, c) for h, c in zip(headers, row, strict=True) if h or c], width):
            yield (label + text).rstrip()


def _row(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    parts = [folded(cell, width) for cell, width in zip(cells, widths, strict=True)]
    lines = []
    for number in range(max(map(len, parts))):
        shown = [part[number] if number < len(part) else "" for part in parts]
        padded = (cell + " " * (width - columns(cell)) for cell, width in zip(shown, widths, strict=True))
        lines.append((" " * GAP).join(padded).rstrip())
    return lines


def _shrunk(
    headers: Sequence[str], rows: Sequence[Sequence[str]], natural: Sequence[int], width: int
) -> list[int] | None:
    """Widths that fit, the widest columns being narrowed first; None where that would break what must stay whole."""
    room = width - GAP * (len(natural) - 1)
    floors = [
        max(
            min(natural[column], NARROWEST if _is_text(rows, column) else 0),
            *(_floor(r[column]) for r in (headers, *rows)),
        )
        for column in range(len(natural))
    ]
    if sum(floors) > room:
        return None
    widths = list(natural)
    while sum(widths) > room:
        widest = max((c for c in range(len(widths)) if widths[c] > floors[c]), key=lambda c: widths[c])
        widths[widest] -= 1
    return widths


def _is_text(rows: Sequence[Sequence[str]], column: int) -> bool:
    return any(len(row[column].split()) > 3 for row in rows)  # noqa: PLR2004 - a phrase, and not a value with its unit


def _floor(cell: str) -> int:
    """Columns that the widest part of a cell needs which stays whole."""
    whole = (_whole(word) for word in _words(cell))
    return max((columns(piece) for pieces in whole for piece in pieces), default=0)


def _whole(word: str) -> list[str]:
    return [word] if columns(word) <= LONGEST_WORD else list(_packed(word, LONGEST_WORD))


def _words(line: str) -> list[str]:
    joined = re.sub(_COUNTED, rf"\1{_JOINED}", re.sub(_QUANTITY, rf"\1{_JOINED}", line))
    return [word.replace(_JOINED, " ") for word in joined.split()]


def _packed(word: str, room: int) -> Iterator[str]:
    """The word in pieces of at most `room` columns."""
    current = ""
    for piece in _pieces(word, room, _BREAKS):
        if current and columns(current + piece) > room:
            yield current
            current = ""
        current += piece
    yield current


def _pieces(word: str, room: int, breaks: Sequence[str]) -> Iterator[str]:
    if columns(word) <= room:
        yield word
    elif breaks:
        for piece in re.split(breaks[0], word):
            yield from _pieces(piece, room, breaks[1:])
    else:
        yield from word
