"""The documents of recorded runs, at several moments: what tests/replay keeps of the day before they had types.

    python tests/replay/told_documents.py

writes tests/replay/documents/*.json again; only a key that was added is a reason to.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import msgspec

from serviceopt_journal.codec import Recorded, decode
from serviceopt_journal.documents.particles import Particles
from serviceopt_journal.documents.runs import Daemon, Runs
from serviceopt_journal.reader import JournalReader
from serviceoptd.domain import documents, table
from serviceoptd.domain.evolve import fold
from serviceoptd.domain.state import State

HERE = Path(__file__).parent
KEPT = HERE / "documents"
DEMONSTRATION = KEPT / "demonstration.jsonl.gz"
DAEMON = Daemon(pid=100, version="0.1.0", started=1.0, state_directory="/var/lib/serviceoptd")


def recorded_runs() -> dict[str, list[Recorded]]:
    """The records of every journal that is kept, and of one demonstration run, by name."""
    runs = {path.name: list(JournalReader.open(path).events()) for path in sorted((HERE / "journals").iterdir())}
    lines = gzip.decompress(DEMONSTRATION.read_bytes()).splitlines()
    return {**runs, "demonstration": [decode(line) for line in lines]}


def told(records: list[Recorded]) -> Iterator[dict[str, Any]]:
    """Every document after a third of the events, after two thirds, and at the end."""
    moments = {len(records) // 3, 2 * len(records) // 3, len(records)}
    state = State()
    for number, record in enumerate(records, 1):
        state = fold(state, record)
        if number in moments:
            yield plain(told_of(state, daemon=None if number == len(records) else DAEMON))


def told_of(state: State, *, daemon: Daemon | None) -> dict[str, Any]:
    """Each document by the name of its request; those of the latest run."""
    run = state.runs[max(state.runs)]
    now = (state.moment[0], state.moment[1] + 1.5)
    return {
        "status": documents.status_document(state, now=now, daemon=daemon),
        "runs": Runs(runs=tuple(documents.run_summary(each) for each in state.runs.values())),
        "run": documents.run_document(run, now=now),
        "best": documents.recommendation(run),
        "rows": table.table(run),
        "particles": Particles(particles=tuple(documents.particle_document(run, p) for p in run.particles.values())),
    }


def plain(document: object) -> Any:
    """As it goes over the wire."""
    return json.loads(msgspec.json.encode(document))


def main() -> None:
    for name, records in recorded_runs().items():
        lines = [json.dumps(moment, ensure_ascii=False, separators=(",", ":")) for moment in told(records)]
        (KEPT / f"{name}.json.gz").write_bytes(gzip.compress(("\n".join(lines) + "\n").encode(), mtime=0))


if __name__ == "__main__":
    main()
