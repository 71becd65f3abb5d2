"""The tables of a parsed profiling directory, from `profiler.db` or from CSV files. Places name file and line, or row."""

from __future__ import annotations

import csv
import itertools
import re
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serviceopt_journal.foreign_files import lines, opened
from serviceoptd.profiling.data.recorded_steps import LARGEST_RECORDING, not_csv, texts
from serviceoptd.simulation.step_times.profile_data import ProfileRejected, finite

FILES = {"batch": "batch.csv", "request": "request.csv"}
NAMES = {"request": ("request", "request_data"), "batch": ("batch",), "batch_exec": ("batch_exec",)}
SECONDS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), 1e-3),
    **dict.fromkeys(("us", "μs", "µs", "microsecond", "microseconds"), 1e-6),
    **dict.fromkeys(("ns", "nanosecond", "nanoseconds"), 1e-9),
}
SAME = {"rid": "http_rid", "id": "http_rid"}
"""Other names of a column; `id` is what is left of `request_id`."""
_TITLE = re.compile(r"(?P<name>.*?)\s*(?:[(\[（](?P<unit>\w+)[)\]）]|_(?P<ending>ms|us))?", re.DOTALL)
_SEPARATORS = (",", ";", "\t")


@dataclass(frozen=True)
class Row:
    """One row; cells by the name of their column without its unit."""

    place: str
    cells: Mapping[str, Any]
    units: Mapping[str, str]

    def __getitem__(self, column: str) -> Any:
        return self.cells[column]

    def number(self, column: str) -> float:
        """A cell as a number.

        Raises:
            ProfileRejected: it is none.
        """
        value = finite(self.cells[column])
        if value is None:
            raise ProfileRejected(self.place, f"{column} is {self.cells[column]!r}, not a number")
        return value

    def duration(self, column: str) -> float:
        """A cell as seconds, above 0; milliseconds where its column names no unit.

        Raises:
            ProfileRejected: it is none.
        """
        seconds = self.number(column) * self.unit(column, "ms")
        if seconds <= 0:
            raise ProfileRejected(self.place, f"{column} is {self.cells[column]!r}")
        return seconds

    def unit(self, column: str, usual: str) -> float:
        """Seconds of the unit that a column's title names; of the `usual` one where it names none."""
        return SECONDS[self.units.get(column, usual)]


@dataclass(frozen=True)
class Table:
    """A table that is there; `need` says that a column is not."""

    place: str
    columns: frozenset[str]
    rows: tuple[Row, ...]

    def need(self, *columns: str) -> None:
        """
        Raises:
            ProfileRejected: one of these columns is missing.
        """
        if missing := [column for column in columns if column not in self.columns]:
            raise ProfileRejected(self.place, f"lacks the column {', '.join(missing)}")


def tables_of(directory: Path) -> dict[str, Table]:
    """`batch` and `request`, and `batch_exec` where it is there.

    Raises:
        ProfileRejected: a table is missing, or a file cannot be read.
    """
    database = directory / "profiler.db"
    found = _from_database(database) if database.is_file() else {}
    for name, file in FILES.items():
        if name not in found and (directory / file).is_file():
            found[name] = _from_csv(directory / file)
    for name, file in FILES.items():
        if name not in found:
            raise ProfileRejected(directory, f"has no {file}, nor a table `{name}` in profiler.db")
    return found


def _from_database(path: Path) -> dict[str, Table]:
    found = {}
    try:
        opened(path, through_links=True).close()  # SQLite itself would wait for a pipe
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            present = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            for table, names in NAMES.items():
                if name := next((name for name in names if name in present), None):
                    cursor = connection.execute(f'SELECT * FROM "{name}"')  # noqa: S608 - one of NAMES
                    header = [column for column, *_ in cursor.description]
                    place = f"{path}: table {name}"
                    found[table] = _table(
                        place, header, ((f"{place}, row {n}", row) for n, row in enumerate(cursor, 1))
                    )
    except sqlite3.Error as error:
        raise ProfileRejected(path, f"cannot be read as a database: {error}") from error
    return found


def _from_csv(path: Path) -> Table:
    text = texts(lines(path, LARGEST_RECORDING, through_links=True))
    reader = csv.reader(text)
    try:
        first = next(text, "")
        reader = csv.reader(itertools.chain([first], text), delimiter=max(_SEPARATORS, key=first.count))
        header = next(reader, [])
        return _table(f"{path}:1", header, ((f"{path}:{reader.line_num}", row) for row in reader if row))
    except (csv.Error, UnicodeDecodeError) as error:
        raise not_csv(path, reader.line_num + 1, error) from error


def _table(place: str, header: Iterable[str], rows: Iterable[tuple[str, Iterable[Any]]]) -> Table:
    columns, units = [], {}
    for title in header:
        name, unit = _read(title)
        columns.append(name)
        if unit in SECONDS:
            units[name] = unit
    found = []
    for where, row in rows:
        cells = list(row)
        if len(cells) != len(columns):
            raise ProfileRejected(where, f"has {len(cells)} values for {len(columns)} columns")
        found.append(Row(where, dict(zip(columns, cells, strict=True)), units))
    return Table(place, frozenset(columns), tuple(found))


def _read(title: str) -> tuple[str, str]:
    """The name of a column as the exporters spell it, and its unit; "" where it names none."""
    match = _TITLE.fullmatch(title.strip())
    name, unit = (match["name"], match["unit"] or match["ending"] or "") if match else (title, "")
    name = re.sub(r"[\s-]+", "_", name.lower()).removeprefix("request_")
    return SAME.get(name, name), unit.lower()
