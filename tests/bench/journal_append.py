"""Durable appends against raw write + fsync of the very same bytes, alternating in one run.

    python tests/bench/journal_append.py [--directory DIR] [--singles N] [--batches N] [--json]

Each append is paired with one write and one fsync of the bytes that it stored, to a plain file in the same directory;
who goes first alternates. The directory must be on a real disk: on a tmpfs a sync costs nothing and the ratio says
nothing about durability.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from journal_workload import events, machine, plain_events

from serviceopt_journal.codec import Recorded, encode
from serviceopt_journal.events import Event
from serviceopt_journal.store import Journal

LIMIT = 2.6


@dataclass(frozen=True)
class Result:
    """Times in microseconds for one append (of one event, or of one batch)."""

    what: str
    appends: int
    events_each: int
    bytes_each: float
    raw_median: float
    journal_median: float
    paired_ratio: float  # median over the pairs
    ratio_of_medians: float
    raw_mean: float
    journal_mean: float
    ratio_of_totals: float  # checkpoints included
    events_per_second: float


def measure(
    directory: Path, *, source: Iterator[Event], appends: int, events_each: int, anchor: bool, what: str
) -> Result:
    """Appends to a new journal in `directory`, each time paired with the raw write of the same bytes."""
    raw_times, journal_times, written = [], [], 0
    descriptor = os.open(directory / "raw", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    journal = Journal.open(directory / "journal", anchor=anchor)
    # The bytes are known only after an append, so the raw file gets those of the append before: the sums are the same.
    previous = _bytes_of(journal.append(*islice(source, events_each)))
    try:
        for number in range(appends):
            batch = tuple(islice(source, events_each))
            journal_first = number % 2 == 0
            for journals_turn in (journal_first, not journal_first):
                started = time.perf_counter()
                if journals_turn:
                    recorded = journal.append(*batch)
                    journal_times.append(time.perf_counter() - started)
                else:
                    os.write(descriptor, previous)
                    os.fsync(descriptor)
                    raw_times.append(time.perf_counter() - started)
            previous = _bytes_of(recorded)
            written += len(previous)
    finally:
        journal.close()
        os.close(descriptor)
    return Result(
        what=what,
        appends=appends,
        events_each=events_each,
        bytes_each=written / appends,
        raw_median=statistics.median(raw_times) * 1e6,
        journal_median=statistics.median(journal_times) * 1e6,
        paired_ratio=statistics.median(ours / raw for ours, raw in zip(journal_times, raw_times, strict=True)),
        ratio_of_medians=statistics.median(journal_times) / statistics.median(raw_times),
        raw_mean=statistics.fmean(raw_times) * 1e6,
        journal_mean=statistics.fmean(journal_times) * 1e6,
        ratio_of_totals=sum(journal_times) / sum(raw_times),
        events_per_second=appends * events_each / sum(journal_times),
    )


def _bytes_of(records: tuple[Recorded, ...]) -> bytes:
    return b"".join(map(encode, records))


def main() -> int:
    """Prints the table; ends with 1 when a ratio with the anchor is not below the limit."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"), help="on the disk to measure")
    parser.add_argument("--singles", type=int, default=5000, help="appends of one event")
    parser.add_argument("--batches", type=int, default=500, help="appends of 100 events")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    shapes = (
        ("single events", events, arguments.singles, 1),
        ("batches of 100", events, arguments.batches, 100),
        ("batches of 100 plain texts", plain_events, arguments.batches, 100),
    )
    results = []
    for anchor in (True, False):
        for shape, source, appends, events_each in shapes:
            with tempfile.TemporaryDirectory(prefix="journal-bench-", dir=arguments.directory) as scratch:
                what = f"{shape}, {'with' if anchor else 'without'} anchor"
                results.append(
                    measure(
                        Path(scratch),
                        source=source(),
                        appends=appends,
                        events_each=events_each,
                        anchor=anchor,
                        what=what,
                    )
                )
    if arguments.json:
        print(json.dumps({"machine": machine(), "limit": LIMIT, "results": [asdict(one) for one in results]}, indent=2))
    else:
        print(" · ".join(f"{name} {value}" for name, value in machine().items()))
        columns = ("raw µs", "journal", "ratio", "paired", "raw mean", "journal", "ratio", "events/s")
        print(f"{'one append of':<44}" + "".join(f"{column:>10}" for column in columns))
        for one in results:
            print(
                f"{one.what:<44}{one.raw_median:>10.0f}{one.journal_median:>10.0f}{one.ratio_of_medians:>10.2f}"
                f"{one.paired_ratio:>10.2f}"
                f"{one.raw_mean:>10.0f}{one.journal_mean:>10.0f}{one.ratio_of_totals:>10.2f}{one.events_per_second:>10.0f}"
            )
        print(f"{results[0].bytes_each:.0f} bytes an event; medians, the median of the paired ratios, then means")
        print(f"means include checkpoints; with the anchor the ratios of medians and of pairs must be below {LIMIT}")
    anchored = [one for one in results if "with anchor" in one.what]
    return int(any(max(one.ratio_of_medians, one.paired_ratio) >= LIMIT for one in anchored))


if __name__ == "__main__":
    sys.exit(main())
