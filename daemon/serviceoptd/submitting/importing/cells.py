"""The cells of a table as a spreadsheet may have rewritten them: separators, blanks, and words for what is not known."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Collection, Iterable, Iterator, Sequence

from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.events import Value

LARGEST = 1e12  # of a parameter's value, as for the bounds of a target field
_SEPARATORS = (",", ";", "\t")
_UNKNOWN = frozenset({"none", "nan", "-nan", "null", "n/a", "#n/a", "na", "#na", "<na>", "nat", "-", "--"})
"""What stands in a cell whose value was not known, in any letters; an empty one besides."""
_INDEX = re.compile(r"Unnamed: \d+")
"""What pandas calls a column without a name, such as the row numbers that it writes itself."""
_BOOLS = {"true": True, "false": False}
_WHOLE = re.compile(r"[+-]?[0-9]+(\.0*)?")
_THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2}(?:[,' \u00a0\u202f][0-9]{3})+(?:\.[0-9]+)?")
_POINTED_THOUSANDS = r"[1-9][0-9]{0,2}(?:\.[0-9]{3})+"
_COMMA_FOR_POINT = re.compile(rf"[+-]?(?:[0-9]+|{_POINTED_THOUSANDS}),[0-9]+")
_AMONG_COMMAS = re.compile(rf"{_COMMA_FOR_POINT.pattern}|[+-]?{_POINTED_THOUSANDS}")


def lines(text: str, expected: Collection[str]) -> Iterator[tuple[int, list[str]]]:
    """The lines that hold anything, each with its number; separated as the header separates `expected` columns.

    What is only blank behind the last column of the header is left out.

    Raises:
        NotCsv: it is not CSV.
    """
    text = text.removeprefix("\ufeff")
    first = text.partition("\n")[0]
    separator = next((each for each in _SEPARATORS if _names(first, each) & set(expected)), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    columns, line = 0, 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                columns = columns or len(cells)
                behind = cells[columns:]
                yield line, cells if any(cell.strip() for cell in behind) else cells[:columns]
            line = reader.line_num + 1
    except csv.Error as error:
        raise NotCsv(line, str(error)) from error


class NotCsv(InvalidConfiguration):
    """The text is not CSV from this line on."""

    def __init__(self, line: int, why: str) -> None:
        """`line`: from 1; `why`: in the words of the reader."""
        super().__init__(why)
        self.line = line


def _names(header: str, separator: str) -> set[str]:
    return {name.strip().strip('"') for name in header.split(separator)}


def title(cell: str) -> str:
    """The name of a column; "" where it has none of its own."""
    return "" if _INDEX.fullmatch(cell.strip()) else cell.strip()


def known(cell: str) -> str:
    """A cell without blanks around it; "" where it says that the value is not known."""
    return "" if cell.strip().lower() in _UNKNOWN else cell.strip()


def commas_are_points(cells: Iterable[str]) -> bool:
    """Whether the numbers of a table have a comma where others have a point: one of them can be read in no other way."""
    return any(_COMMA_FOR_POINT.fullmatch(cell) and not _THOUSANDS.fullmatch(cell) for cell in cells)


def plain(cell: str, *, comma_is_point: bool) -> str:
    """A number without what only parts its digits; anything else as it is."""
    if comma_is_point:
        return cell.replace(".", "").replace(",", ".") if _AMONG_COMMAS.fullmatch(cell) else cell
    return re.sub(r"[^0-9.+-]", "", cell) if _THOUSANDS.fullmatch(cell) else cell


def finite(cell: str) -> float | None:
    """A cell as a number; None where it is none, or has no end."""
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def values(cells: Sequence[str], *, comma_is_point: bool) -> list[Value | None]:
    """The cells of a parameter in the one type that fits them all; None where a cell is empty, or has no end among numbers.

    A table that lacks some cells has its whole numbers as `64.0` in the others: they are whole numbers all the same.
    """
    if all(cell.lower() in _BOOLS for cell in cells if cell):
        return [_BOOLS[cell.lower()] if cell else None for cell in cells]
    read = [plain(cell, comma_is_point=comma_is_point) for cell in cells]
    bounded = ["" if _is_endless(cell) else cell for cell in read]
    numbers = [finite(cell) for cell in bounded if cell]
    if not numbers or any(number is None or abs(number) > LARGEST for number in numbers):
        return [cell or None for cell in cells]
    if all(_WHOLE.fullmatch(cell) for cell in bounded if cell):
        return [int(float(cell)) if cell else None for cell in bounded]
    return [float(cell) if cell else None for cell in bounded]


def _is_endless(cell: str) -> bool:
    try:
        return math.isinf(float(cell)) and "inf" in cell.lower()
    except ValueError:
        return False
