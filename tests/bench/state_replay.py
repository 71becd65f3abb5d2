"""How many events a second are folded into the state, and how long a start takes, by runs and by the length of a run.

Run: python tests/bench/state_replay.py [--events 10000,100000,1000000] [--each-run 40] [--directory DIR]

For each number of events: a journal of short runs (of `--each-run` events each) and one of a single long run are written.
Prints the events folded each second of processor time (decoded before), and the seconds that the daemon's opening of that
journal takes, with verification, decoding and fold, and those of `status` with the daemon down.
A run has its real events with about 950 bytes each.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import msgspec
from journal_workload import events, machine

from serviceopt_journal.codec import Recorded
from serviceopt_journal.events import Event, RunSubmitted
from serviceopt_journal.store import Journal
from serviceoptctl.from_journal import FromJournal
from serviceoptd.config.load import load_text
from serviceoptd.domain.evolve import fold
from serviceoptd.domain.state import State

_BATCH = 1000


def submitted(run: int) -> RunSubmitted:
    """The first event of a run."""
    loaded = load_text('engine = "simulated"\nbenchmark = "simulated"', None, environment={})
    return RunSubmitted(
        run=run,
        name=f"run-{run}",
        settings=msgspec.to_builtins(loaded.settings),
        seed=1,
        run_identity="r",
        measurement_identity="m",
        identity_parts={},
        configuration_path=None,
        configuration_text="",
        working_directory="/",
        environment_names=(),
        environment_file="",
        environment_sha256="",
        submitter_uid=0,
        submitted_through="socket",
    )


def many_runs(each: int) -> Iterator[Event]:
    """Runs of so many events."""
    first = submitted(1)
    story = list(islice(events(), each - 1))
    for run in count(1):
        yield msgspec.structs.replace(first, run=run)
        for event in story:
            yield msgspec.structs.replace(event, run=run)


def one_run() -> Iterator[Event]:
    """A run that never ends."""
    yield submitted(1)
    yield from events()


def folded(told: Iterator[Event], number: int) -> float:
    """Events folded each second of processor time."""
    state, seconds, seq = State(), 0.0, 0
    while seq < number:
        batch = [
            Recorded(seq + at, 1, float(seq), float(seq), "boot", event)
            for at, event in enumerate(islice(told, _BATCH), 1)
        ]
        started = time.process_time()
        for record in batch:
            state = fold(state, record)
        seconds += time.process_time() - started
        seq += len(batch)
    return number / seconds


def opened(told: Iterator[Event], number: int, directory: Path) -> tuple[float, float]:
    """Seconds of processor time: until a start has the state, and until `status` has its document with the daemon down."""
    with Journal.open(directory) as journal:
        for start in range(0, number, _BATCH):
            journal.append(*islice(told, min(_BATCH, number - start)))
    state = State()

    def replayed(record: Recorded) -> None:
        nonlocal state
        state = fold(state, record)

    started = time.process_time()
    Journal.open(directory, on_event=replayed).close()
    seconds = time.process_time() - started
    if state.seq != number:
        raise SystemExit("the replay lost events")
    started = time.process_time()
    FromJournal.open(directory).status()
    return seconds, time.process_time() - started


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", default="10000,100000,1000000")
    parser.add_argument("--each-run", type=int, default=40)
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"), help="where the journals are written")
    arguments = parser.parse_args()
    print(" · ".join(f"{name} {value}" for name, value in machine().items()))
    print(f"{'events':>9}  {'history':<24}{'folded/s':>10}{'start, s':>10}{'status, s':>11}")
    for number in (int(each) for each in arguments.events.split(",")):
        for name, told in (
            (f"{number // arguments.each_run} runs", lambda: many_runs(arguments.each_run)),
            ("one run", one_run),
        ):
            rate = folded(told(), number)
            with tempfile.TemporaryDirectory(prefix="replay-bench-", dir=arguments.directory) as scratch:
                start, status = opened(told(), number, Path(scratch))
                print(f"{number:>9}  {name:<24}{rate:>10.0f}{start:>10.1f}{status:>11.1f}", flush=True)


if __name__ == "__main__":
    main()
