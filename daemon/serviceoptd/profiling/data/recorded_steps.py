"""Reads our own recordings: one CSV file a run, one line an engine step, written by a recording scheduler."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from serviceopt_journal.foreign_files import MIB, lines, piece
from serviceopt_journal.foreign_text import not_utf_8
from serviceoptd.simulation.step_times.profile_data import ProfileRejected, Run, finite

COLUMNS = (
    "n_prefill", "prefill_tokens", "attn_prefill", "n_decode", "decode_ctx",
    "n_seqs", "n_new", "sched_ms", "exec_ms", "update_ms", "period_ms",
)  # fmt: skip
LARGEST_RECORDING = 16 * 1024 * MIB
"""Bytes of a file of steps, which is read line by line."""
MARK = "attn_prefill"  # a CSV file without this column is something else


def is_recording(path: Path) -> bool:
    """Whether a CSV file is one of ours, by its first line; also in UTF-16, which `read_recording` refuses by name."""
    first_line = piece(path, 0, 65_536, through_links=True).partition(b"\n")[0]
    # without the zero bytes, ASCII in UTF-16 or UTF-32 is ASCII again but for its mark
    names = first_line.replace(b"\0", b"").decode(errors="replace").lstrip("\ufeff\ufffd").rstrip("\r").split(",")
    return MARK in names


def read_recording(path: Path, *, name: str, configuration: str) -> Run:
    """Reads the steps of one recorded run.

    A step lasts from the end of the one before it to its own end, so that what the engine does between two batches counts.
    Where the engine may have been idle before it (all of its sequences are new), only its own time counts.

    Raises:
        ProfileRejected: a column is missing, or a line cannot be used; names the line.
    """
    composition: list[tuple[float, ...]] = []
    seconds: list[float] = []
    reader = csv.reader(texts(lines(path, LARGEST_RECORDING, through_links=True)))
    try:
        header = next(reader, [])
        if missing := [column for column in COLUMNS if column not in header]:
            raise ProfileRejected(f"{path}:1", f"lacks the column {', '.join(missing)}")
        places = [header.index(column) for column in COLUMNS]
        for row in reader:
            values = _numbers(row, places, f"{path}:{reader.line_num}")
            composition.append(tuple(values[:5]))
            seconds.append(_seconds(dict(zip(COLUMNS, values, strict=True)), f"{path}:{reader.line_num}"))
    except (csv.Error, UnicodeDecodeError) as error:
        raise not_csv(path, reader.line_num + 1, error) from error
    if not seconds:
        raise ProfileRejected(path, "has no steps")
    return Run(name, configuration, "vllm", np.array(composition, dtype=float), np.array(seconds, dtype=float))


def texts(lines: Iterable[bytes]) -> Iterator[str]:
    """The text of each line of a CSV file.

    Raises:
        UnicodeDecodeError: it is not UTF-8. With zero bytes in its header, UTF-16 without a mark would pass for it.
    """
    for number, line in enumerate(lines):
        if number == 0 and b"\0" in line:
            raise UnicodeDecodeError("utf-8", line, line.index(b"\0"), line.index(b"\0") + 1, "a zero byte")
        yield line.decode("utf-8-sig")


def not_csv(path: Path, line: int, error: csv.Error | UnicodeDecodeError) -> ProfileRejected:
    """Why a file cannot be read as CSV; of one in another encoding, how to convert it."""
    if isinstance(error, UnicodeDecodeError):
        what, hint = not_utf_8(piece(path, 0, MIB, through_links=True), path)
        return ProfileRejected(f"{path}:{line}", what, hint=hint)
    return ProfileRejected(f"{path}:{line}", f"is not CSV: {error}")


def _numbers(row: list[str], places: list[int], place: str) -> list[float]:
    if len(row) <= max(places):
        raise ProfileRejected(
            place, f"has {len(row)} values, too few", hint="a recording that was cut off: delete the line"
        )
    values = []
    for column, index in zip(COLUMNS, places, strict=True):
        value = finite(row[index])
        if value is None:
            raise ProfileRejected(place, f"{column} is {row[index]!r}, not a number")
        if value < 0 and column in COLUMNS[:5]:
            raise ProfileRejected(place, f"{column} is {row[index]}")
        values.append(value)
    return values


def _seconds(step: Mapping[str, float], place: str) -> float:
    """Seconds of one step.

    Raises:
        ProfileRejected: the batch is empty, or its time is not above 0.
    """
    if step["n_prefill"] + step["n_decode"] < 1:
        raise ProfileRejected(place, "is a step without sequences")
    after_idleness = step["n_new"] == step["n_seqs"] or step["period_ms"] <= 0
    own = step["sched_ms"] + step["exec_ms"] + step["update_ms"]
    milliseconds = own if after_idleness else step["period_ms"]
    if milliseconds <= 0:
        raise ProfileRejected(place, f"took {milliseconds} ms")
    return milliseconds / 1000
