"""Open + verify + decode a journal, against Optuna's JournalStorage reading as many trials' records in the same run.

    python tests/bench/journal_replay.py [--events N] [--rounds N] [--directory DIR] [--json]

Both start from files that were closed; each round measures both, who goes first alternates. Ours verifies the whole
chain, the database and the anchor, and decodes every event; Optuna's `JournalStorage` reads and applies its log
(`JournalFileBackend`), which has no checksums. Needs the extra `bench`.
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

import optuna
from journal_workload import events, machine
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from serviceopt_journal.store import Journal
from serviceopt_journal.verification import verify

LIMIT = 2.0
_BATCH = 1000


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


def write_optuna(path: Path, count: int) -> int:
    """Fills Optuna's log with ordinary trials; returns its number of records (lines)."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(storage=JournalStorage(JournalFileBackend(str(path))), study_name="tuning")
    lines = 0
    while lines < count:
        for _ in range(50):
            trial = study.ask()
            trial.suggest_int("MAX_NUM_SEQS", 32, 512)
            trial.suggest_int("MAX_NUM_BATCHED_TOKENS", 8192, 65536)
            trial.suggest_int("CONCURRENCY", 1, 1000)
            trial.suggest_float("REQUESTRATE", 0.0, 100.0)
            for name in ("ttft", "tpot", "throughput", "launch"):
                trial.set_user_attr(name, {"mean": 1.2345, "p50": 1.1, "p99": 3.1, "argv": "x" * 300})
            study.tell(trial, 1.0)
        lines = sum(1 for _ in path.open("rb"))
    return lines


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
    parser.add_argument("--directory", type=Path, default=Path.cwd(), help="on the disk to measure (default: here)")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--optuna-records", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix=".journal-bench-", dir=arguments.directory) as scratch:
        ours, theirs = Path(scratch) / "journal", Path(scratch) / "optuna.log"
        bytes_each = write_ours(ours, arguments.events)
        records = write_optuna(theirs, arguments.optuna_records)
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
