"""Open + verify + decode a journal, against Optuna's JournalStorage reading the same content in the same run.

    python tests/bench/journal_replay.py [--events N] [--rounds N] [--directory DIR] [--json]

Both start from files that were closed; each round measures both, who goes first alternates. Ours verifies the whole
chain, the database and the anchor, and decodes every event; Optuna's `JournalStorage` reads and applies its log
(`JournalFileBackend`), which has no checksums. Its records are trials with the same events as user attributes, ten to a
trial, so that both read the same bytes a record. Needs the extra `bench`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import msgspec
import optuna
from journal_workload import events, machine
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from serviceopt_journal.store import Journal
from serviceopt_journal.verification import verify

LIMIT = 2.0
_BATCH = 1000
_EVENTS_A_TRIAL = 10


def write_ours(directory: Path, count: int) -> float:
    """Fills a journal; returns the mean size of an event in bytes."""
    source = events()
    with Journal.open(directory) as journal:
        for start in range(0, count, _BATCH):
            journal.append(*islice(source, min(_BATCH, count - start)))
    return (directory / "journal.db").stat().st_size / count


def replay_ours(directory: Path) -> int:
    """What the daemon does at its start."""
    replayed = 0

    def fold(_: object) -> None:
        nonlocal replayed
        replayed += 1

    Journal.open(directory, on_event=fold).close()
    return replayed


def write_optuna(path: Path, count: int) -> tuple[int, float]:
    """Fills Optuna's log with trials that carry our events; returns its number of records (lines) and their mean size."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(storage=JournalStorage(JournalFileBackend(str(path))), study_name="tuning")
    source = events()
    for _ in range(count // _EVENTS_A_TRIAL):
        trial = study.ask()
        for number, event in enumerate(islice(source, _EVENTS_A_TRIAL)):
            trial.set_user_attr(str(number), msgspec.to_builtins(event))
        study.tell(trial, 1.0)
    stored = path.read_bytes()
    lines = stored.count(b"\n")
    return lines, len(stored) / lines


def replay_optuna(path: Path) -> int:
    """A new process's first look at the study."""
    storage = JournalStorage(JournalFileBackend(str(path)))
    return len(storage.get_all_studies())


def timed(work: Callable[[], object]) -> float:
    """Seconds that `work` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> int:
    """Prints the table; ends with 1 when ours is not twice as fast."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"), help="on the disk to measure")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--optuna-records", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="journal-bench-", dir=arguments.directory) as scratch:
        ours, theirs = Path(scratch) / "journal", Path(scratch) / "optuna.log"
        bytes_each = write_ours(ours, arguments.events)
        records, record_bytes = write_optuna(theirs, arguments.optuna_records)
        our_times, their_times, verify_times = [], [], []
        for number in range(arguments.rounds):
            pairs = [(our_times, lambda: replay_ours(ours)), (their_times, lambda: replay_optuna(theirs))]
            for times, work in pairs if number % 2 == 0 else reversed(pairs):
                times.append(timed(work))
            verify_times.append(timed(lambda: verify(ours)))
        if replay_ours(ours) != arguments.events:
            raise SystemExit("the replay lost events")
    result = {
        "machine": machine(),
        "events": arguments.events,
        "bytes_per_event": round(bytes_each),
        "replay_events_per_second": round(arguments.events / statistics.median(our_times)),
        "verify_events_per_second": round(arguments.events / statistics.median(verify_times)),
        "optuna_version": optuna.__version__,
        "optuna_records": records,
        "optuna_bytes_per_record": round(record_bytes),
        "optuna_records_per_second": round(records / statistics.median(their_times)),
    }
    result["ratio"] = round(result["replay_events_per_second"] / result["optuna_records_per_second"], 2)
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        print(" · ".join(f"{name} {value}" for name, value in machine().items()))
        for name, value in result.items():
            if name != "machine":
                print(f"{name:<28}{value:>12}")
        print(f"the ratio must be at least {LIMIT}")
    return int(result["ratio"] < LIMIT)


if __name__ == "__main__":
    sys.exit(main())
