"""Results and events as files: CSV for spreadsheets and pandas, JSON for programs."""

from __future__ import annotations

import csv
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import msgspec

from serviceopt_journal.documents.runs import Table
from serviceopt_journal.errors import EnvironmentLacks
from serviceopt_journal.unseen import visible_json
from serviceoptctl.documents import Selection, Source
from serviceoptctl.render.text import to_json

EVENT_COLUMNS = ("seq", "time", "type", "run", "particle", "evaluation", "payload")


@contextmanager
def opened(path: str | None) -> Iterator[TextIO]:
    """The file, in UTF-8, or standard output.

    Raises:
        EnvironmentLacks: the file cannot be written.
    """
    if path is None:
        yield sys.stdout
        return
    try:
        with Path(path).open("w", encoding="utf-8", newline="") as stream:
            yield stream
    except OSError as error:
        raise EnvironmentLacks(f"{path}: cannot be written: {(error.strerror or str(error)).lower()}") from error


def finished(path: Path, content: str) -> None:
    """Writes a file of an engine, in which nobody but its owner and its group may read: MindIE refuses any other.

    One that is there already keeps its mode.

    Raises:
        OSError: it cannot be written.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
        stream.write(content)


def together(tables: Sequence[Table]) -> Table:
    """One table of several: the columns of docs/api.md, the target fields of every run between them."""
    from serviceoptd.domain.table import METRIC_COLUMNS, OWN_COLUMNS, RECORD_COLUMNS

    if len(tables) == 1:
        return tables[0]
    fixed = {*METRIC_COLUMNS, *RECORD_COLUMNS, *OWN_COLUMNS}
    fields = dict.fromkeys(column for table in tables for column in table.columns if column not in fixed)
    return Table(
        columns=(*METRIC_COLUMNS, *fields, *RECORD_COLUMNS, *OWN_COLUMNS),
        rows=tuple(row for table in tables for row in table.rows),
    )


def rows(table: Table, stream: TextIO, *, as_json: bool) -> int:
    """Writes a table of results; the number of its rows."""
    from serviceoptd.domain.table import cell

    if as_json:
        stream.write(visible_json(json.dumps(msgspec.to_builtins(table), indent=2, ensure_ascii=False)) + "\n")
    else:
        writer = csv.writer(stream, lineterminator="\n")
        # Names of target fields are the user's own words, and may look like a formula too.
        writer.writerow([cell(column) for column in table.columns])
        for row in table.rows:
            writer.writerow([cell(row.get(column)) for column in table.columns])
    return len(table.rows)


def events(source: Source, run: int | None, stream: TextIO, *, as_json: bool) -> int:
    """Writes every event, as it comes from the journal; how many there were."""
    from serviceoptd.domain.table import cell

    records = source.events(Selection(run=run))
    count = 0
    writer = csv.writer(stream, lineterminator="\n")
    if not as_json:
        writer.writerow(EVENT_COLUMNS)
    for count, record in enumerate(records, 1):  # noqa: B007 - counted for the caller
        if as_json:
            stream.write(to_json(record.told) + "\n")
            continue
        event = dict(record.told["event"])
        numbers = [event.get(name) for name in ("run", "particle", "evaluation")]
        moment = datetime.fromtimestamp(record.time, UTC).isoformat()
        writer.writerow([cell(v) for v in (record.seq, moment, event.pop("type"), *numbers, to_json(event))])
    return count


def store(table: Table, directory: str) -> Path:
    """Writes `data_storage_<time>.csv` below a directory, as the predecessor's `optimizer` does; its path.

    Raises:
        EnvironmentLacks: it cannot be written.
    """
    folder = Path(directory)
    path = folder / f"data_storage_{time.strftime('%Y%m%d_%H%M%S')}.csv"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentLacks(f"{folder}: cannot be made: {(error.strerror or str(error)).lower()}") from error
    with opened(str(path)) as stream:
        rows(table, stream, as_json=False)
    return path
