"""Profiling data on disk, as the predecessor's parser and our own recorder write them."""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from serviceoptd.profiling.data.recorded_steps import COLUMNS as STEP_COLUMNS
from serviceoptd.simulation.step_times.profile_data import Run

BATCH_COLUMNS = (
    "name", "res_list", "start_time(ms)", "end_time(ms)", "batch_size", "batch_type", "during_time(ms)",
)  # fmt: skip
REQUEST_COLUMNS = (
    "http_rid", "start_time(ms)", "recv_token_size", "reply_token_size", "execution_time(ms)", "queue_wait_time(ms)",
    "first_token_latency(ms)",
)  # fmt: skip

Batch = tuple[str, list[dict[str, Any]], float]  # Prefill or Decode, requests, milliseconds


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def write_recording(path: Path, run: Run) -> Path:
    """A run as our recorder would have written it, with some of its further columns."""
    rows = []
    for batch, seconds in zip(run.composition.astype(int).tolist(), run.seconds.tolist(), strict=True):
        prefilling, tokens, attention, decoding, context = batch
        step = {
            "n_prefill": prefilling, "prefill_tokens": tokens, "attn_prefill": attention, "n_decode": decoding,
            "decode_ctx": context, "n_seqs": prefilling + decoding, "n_new": 0, "sched_ms": 0.2,
            "exec_ms": seconds * 1000 - 0.5, "update_ms": 0.2, "period_ms": seconds * 1000,
        }  # fmt: skip
        rows.append([*(step[column] for column in STEP_COLUMNS), "1:0:1"])
    return write_csv(path, (*STEP_COLUMNS, "requests"), rows)


def write_requests(directory: Path, prompts: dict[str, int | str]) -> None:
    rows = [(rid, 1, length, 8, 1.0, 0.1, 0.5) for rid, length in prompts.items()]
    write_csv(directory / "request.csv", REQUEST_COLUMNS, rows)


def batch_rows(batches: Iterable[Batch], name: str) -> list[tuple[Any, ...]]:
    return [(name, str(requests), 1000, 1001, len(requests), kind, taken) for kind, requests, taken in batches]


def write_profile_database(
    directory: Path, batches: Sequence[Batch], *, scheduled: str = "BatchSchedule", ranks: Sequence[float] = (1.0,)
) -> Path:
    """`profiler.db`: each batch scheduled, then executed by one process a rank, which takes that much longer."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "profiler.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        titles = ", ".join(f'"{column}"' for column in BATCH_COLUMNS)
        connection.execute(f"CREATE TABLE batch ({titles})")
        connection.executemany("INSERT INTO batch VALUES (?, ?, ?, ?, ?, ?, ?)", batch_rows(batches, scheduled))
        connection.execute("CREATE TABLE batch_exec (batch_id, name, pid, start, end)")
        for number, (_, _, taken) in enumerate(batches, 1):
            for rank, slower in enumerate(ranks):
                row = (number, "forward", 1000 + rank, 5000.0 * number, 5000.0 * number + taken * 1000 * slower)
                connection.execute("INSERT INTO batch_exec VALUES (?, ?, ?, ?, ?)", row)
    return path
