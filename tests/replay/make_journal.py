"""Makes the journal of a release that tests/replay keeps for ever. Run once for each release, before it is tagged:

    python tests/replay/make_journal.py tests/replay/journals/VERSION

A run of the stub programs in which much happens: a service that dies, one that is tried again, a client whose requests
fail in part, a particle that lands on a measured configuration, and a daemon killed in the middle of a measurement.
What names this machine (paths, host, processor, environment) is replaced, so that the journal can be published.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from itertools import groupby
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import msgspec
from msgspec.structs import replace

from serviceopt_journal import events as e
from serviceopt_journal.codec import Recorded, decode, encode
from serviceopt_journal.store import Journal
from serviceoptd.domain import documents, table
from serviceoptd.domain.evolve import fold
from serviceoptd.domain.state import State
from serviceoptd.submitting.identity import host_class
from stubs.scenario import STUB, places, records, stub_run

KILLED_DAEMON = Path(__file__).resolve().parents[1] / "crash" / "killed_daemon.py"
BOOT = "00000000-0000-4000-8000-000000000001"


class RecordedClock:
    """Gives the times of the records that are written again."""

    def __init__(self) -> None:
        self.now: Recorded | None = None

    def wall(self) -> float:
        return self.now.time if self.now else 0.0

    def monotonic(self) -> float:
        return self.now.monotonic if self.now else 0.0

    def boot_id(self) -> str:
        return BOOT


def eventful_run(directory: Path) -> list[Recorded]:
    """Killed once, then finished."""
    once = directory / "once"
    configuration = stub_run(
        directory, n_particles=4, iters=4, searched=["MAX_NUM_SEQS", "CONCURRENCY"], repeats=2,
        service=f"--stub-hang --stub-log 'connection reset by peer' --stub-when max-num-seqs>4 --stub-once {once}",
        client="--stub-lies 3=some-failed,5=nan",
    )  # fmt: skip
    text = configuration.read_text().replace("max = 64\nvalue = 16", "max = 8\nvalue = 4")
    configuration.write_text(text.replace("max = 64\nvalue = 8", "max = 5\nvalue = 4"))
    command = [sys.executable, str(KILLED_DAEMON), str(configuration), str(directory / "state")]
    subprocess.run([*command, "--after-seq", "40"], env=places(directory), check=False, capture_output=True)
    subprocess.run([*command, "--continue"], env=places(directory), check=True)
    return records(directory / "state")


def published(recorded: list[Recorded], directory: Path) -> list[Recorded]:
    """The same without anything that names this machine."""
    names = {
        str(STUB): "/opt/vllm/bin/vllm",
        str(directory): "/srv/tuning",
        host_class(): "x86_64 Example Processor x4",
    }
    found = []
    for record in recorded:
        text = encode(record).decode()
        for own, example in names.items():
            text = text.replace(json.dumps(own)[1:-1], example)
        anonymous = replace(decode(text.encode()), boot_id=BOOT)
        if isinstance(anonymous.event, e.RunSubmitted):
            submitted = replace(anonymous.event, environment_names=("HOME", "PATH"), submitter_uid=1000)
            anonymous = replace(anonymous, event=submitted)
        if isinstance(anonymous.event, e.DaemonStarted):
            anonymous = replace(anonymous, event=replace(anonymous.event, host="example-host"))
        found.append(anonymous)
    return found


def written(recorded: list[Recorded], directory: Path) -> None:
    """Writes them as they were: the same commits at the same times."""
    clock = RecordedClock()
    journal = Journal.open(directory, clock=clock)
    for _, together in groupby(recorded, key=lambda record: record.commit):
        commit = list(together)
        clock.now = commit[0]
        journal.append(*(record.event for record in commit))
    journal.close()
    for remains in ("journal.lock", "journal.db-wal", "journal.db-shm"):
        (directory / remains).unlink(missing_ok=True)


def told(recorded: list[Recorded]) -> tuple[list[str], list[list[str]], dict[str, Any]]:
    """The columns, the rows and the recommendation of the first run."""
    state = State()
    for record in recorded:
        state = fold(state, record)
    run = state.runs[1]
    cells = [[table.cell(value) for value in row.values()] for row in table.rows(run)]
    return table.columns(run), cells, msgspec.json.decode(msgspec.json.encode(documents.recommendation(run)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        recorded = published(eventful_run(Path(temporary)), Path(temporary))
    asked.directory.mkdir(parents=True)
    written(recorded, asked.directory)
    columns, rows, recommendation = told(recorded)
    with (asked.directory / "rows.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([columns, *rows])
    (asked.directory / "recommendation.json").write_text(json.dumps(recommendation, indent=1) + "\n")


if __name__ == "__main__":
    main()
