"""What AISBench tells of single requests: the details beside its table, and the times in a database beside these.

The format as of AISBench 3.1, which is not documented: a line of `DATASET_details.jsonl` is a request; `db_name` and
`time_points.__db_ref__` name a row of `db_data/NAME` (SQLite, table `numpy_store`), an array in numpy's own format with
the seconds of the sending and of each piece of the answer.
"""

from __future__ import annotations

import io
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from serviceopt_journal.foreign_files import UnfitFile, lines, opened
from serviceopt_journal.foreign_text import json_value
from serviceopt_journal.metric_table import E2EL, TPOT, TTFT
from serviceoptd.benchmarks.result_checks import LARGEST_RESULT

REFERENCE = "__db_ref__"


def latencies_in(table: Path, completed: int) -> dict[str, list[float]]:
    """TTFT, TPOT and end-to-end latency (seconds) of each completed request, in the order of sending.

    A request of a single token has no TPOT. Nothing where these files are not what AISBench 3.1 writes, or tell of another
    number of requests than `completed`: the table's own percentiles are there all the same.
    """
    try:
        found = sorted(_requests(table), key=lambda request: request[0][0])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, MemoryError, UnfitFile, sqlite3.Error):
        return {}
    if len(found) != completed or any(len(times) < 2 for times, _ in found):
        return {}
    return {
        TTFT: [times[1] - times[0] for times, _ in found],
        E2EL: [times[-1] - times[0] for times, _ in found],
        TPOT: [(times[-1] - times[1]) / (tokens - 1) for times, tokens in found if tokens > 1],
    }


def _requests(table: Path) -> Iterator[tuple[list[float], int]]:
    """The times and the output tokens of each completed request."""
    stored: dict[str, Mapping[int, list[float]]] = {}
    for details in table.parent.glob("*_details.jsonl"):
        for line in lines(details, LARGEST_RESULT):
            request: dict[str, Any] = json_value(line)
            if not request["success"]:
                continue
            name = Path(str(request["db_name"])).name  # a file of that directory, whatever the line says
            if name not in stored:
                stored[name] = dict(_arrays(table.parent / "db_data" / name))
            yield stored[name][request["time_points"][REFERENCE]], int(request["output_tokens"])


def _arrays(database: Path) -> Iterator[tuple[int, list[float]]]:
    import numpy as np

    with opened(database) as file:  # SQLite itself would wait for a pipe
        if os.fstat(file.fileno()).st_size > LARGEST_RESULT:
            return
    uri = f"{database.absolute().as_uri()}?mode=ro&immutable=1"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        for number, blob in connection.execute("SELECT id, arr_blob FROM numpy_store"):
            yield int(number), [float(second) for second in np.load(io.BytesIO(blob), allow_pickle=False)]
