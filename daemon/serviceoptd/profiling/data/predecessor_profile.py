"""Reads one parsed profiling directory of msServiceProfiler: `profiler.db`, or `batch.csv`; and `request.csv`.

The tables and their columns are those of its exporters: `batch` (name, res_list, batch_type, during_time), `batch_exec`
(batch_id, name, pid, start and end in microseconds) and `request` (http_rid, recv_token_size). Column names carry their
unit in some versions, `during_time(ms)`, and the manual's names in others: `request_recv_token_size`, and `forward_time`
(ms) in the row of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from serviceoptd.profiling.data.predecessor_batch import composed
from serviceoptd.profiling.data.predecessor_tables import Row, Table, tables_of
from serviceoptd.simulation.step_times.profile_data import ProfileRejected, Run
from serviceoptd.simulation.virtual_clock.interface import StepComposition

SCHEDULED = ("BatchSchedule", "batchFrameworkProcessing", "Schedule")
EXECUTED = "modelExec"


def is_profile(directory: Path) -> bool:
    """Whether this directory holds a parsed profile."""
    return (directory / "profiler.db").is_file() or (directory / "batch.csv").is_file()


def read_predecessor_profile(directory: Path, *, name: str, framework: str) -> Run:
    """The batches of one profile; their time is that of the forward pass, of several ranks the slowest.

    A batch with a request whose length is not known is left out.

    Raises:
        ProfileRejected: a table or a column is missing, or a row cannot be used; names the place.
    """
    tables = tables_of(directory)
    prompts = _prompt_lengths(tables["request"])
    composition: list[StepComposition] = []
    seconds: list[float] = []
    left_out = 0
    for row, duration in _timed(tables["batch"], tables.get("batch_exec")):
        batch = composed(row, prompts, framework=framework)
        if batch is None:
            left_out += 1
            continue
        composition.append(batch)
        seconds.append(duration)
    if not seconds:
        batches = tables["batch"].place
        raise ProfileRejected(
            batches,
            "has no batch with a time and with the lengths of its requests",
            hint="profile with the domains of requests, batches and model execution, and parse again",
        )
    return Run(name, name, framework, np.array(composition, dtype=float), np.array(seconds, dtype=float), left_out)


def _timed(batches: Table, executed: Table | None) -> Sequence[tuple[Row, float]]:
    """Each batch with its seconds: by the forward passes where there are any, else by `modelExec`."""
    batches.need("res_list", "batch_type")
    if executed is not None and (forward := _forward_seconds(executed)):
        batches.need("name")
        scheduled = [row for row in batches.rows if row["name"] in SCHEDULED]
        return [(row, forward[number]) for number, row in enumerate(scheduled, 1) if number in forward]
    if "forward_time" in batches.columns:  # the manual's name: in the row of the batch, whatever the row is called
        return [(row, row.duration("forward_time")) for row in batches.rows if row["forward_time"] not in ("", None)]
    batches.need("name", "during_time")
    return [(row, row.duration("during_time")) for row in batches.rows if row["name"] == EXECUTED]


def _forward_seconds(executed: Table) -> Mapping[int, float]:
    """Seconds of the forward pass of each batch, by its number; batches are counted from 1 in the order of scheduling."""
    seconds: dict[int, float] = {}
    if not executed.rows:
        return seconds
    executed.need("batch_id", "start", "end")
    name = "name" if "name" in executed.columns else "event"
    executed.need(name)
    for row in executed.rows:
        if row[name] == "forward":
            taken = (row.number("end") - row.number("start")) * row.unit("end", "us")
            if taken <= 0:
                raise ProfileRejected(row.place, f"is a forward pass of {taken} s")
            number = int(row.number("batch_id"))
            seconds[number] = max(taken, seconds.get(number, 0.0))
    return seconds


def _prompt_lengths(requests: Table) -> Mapping[str, int]:
    requests.need("http_rid", "recv_token_size")
    return {
        _identifier(row["http_rid"]): int(row.number("recv_token_size"))
        for row in requests.rows
        if row["recv_token_size"] not in ("", None)
    }


def _identifier(value: object) -> str:
    """A request's name as text: some versions export the number 101 as 101.0."""
    return str(value).removesuffix(".0")
