"""What serviceopt adds to an evaluation: its time outside the engine's and the client's own.

    python tests/bench/evaluation_overhead.py [--evaluations N] [--json]

Tunes stub programs that answer at once (tests/stubs), standalone, in processes of their own, with a journal on the disk
of --directory. From the announcement of one launch to that of the next, less what the children tell of themselves: from
the start of the service's process to its readiness, and from the start of the client's process to its end. A process's
start is known to a tick (10 ms); the whole tick is counted as ours. The predecessor: 5.02 s; the goal: below 0.15 s.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from serviceopt_journal import events as e
from serviceopt_journal.artefacts import ArtefactStore
from serviceopt_journal.codec import Recorded
from stubs.scenario import standalone, stub_run

GOAL = 0.15  # seconds
PARTS = ("announced_to_spawned", "ready_to_noticed", "started_to_spawned", "ended_to_noticed", "stopping", "between")
TICK = 1.0 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Evaluation:
    """Where one evaluation's time went, in seconds."""

    whole: float
    service: float  # the service's own, from the start of its process until it was ready
    client: float  # the client's own
    announced_to_spawned: float
    ready_to_noticed: float
    started_to_spawned: float  # of the client
    ended_to_noticed: float
    stopping: float
    between: float  # from the end of one evaluation to the announcement of the next

    @property
    def overhead(self) -> float:
        return self.whole - self.service - self.client


def told(kept: ArtefactStore, sha256: str, who: str) -> dict[str, float]:
    """What a stub printed about itself: when its process started, when it was ready, when it ended."""
    with kept.open(sha256) as log:
        text = log.read().decode()
    began, age = re.search(rf"{who}: began (\S+) age (\S+)", text).groups()  # type: ignore[union-attr]
    times = {name: float(at) for name, at in re.findall(rf"{who}: (ready|ended) (\d\S+)", text)}
    return {"process": float(began) - max(0.0, float(age) - TICK), **times}


def evaluations(recorded: list[Recorded], kept: ArtefactStore) -> list[Evaluation]:
    """One for each launch that was followed by another."""
    launches = [index for index, record in enumerate(recorded) if isinstance(record.event, e.ServiceLaunching)]
    return [_evaluation(recorded[begin:end], recorded[end].time, kept) for begin, end in pairwise(launches)]


def _evaluation(recorded: list[Recorded], next_launch: float, kept: ArtefactStore) -> Evaluation:
    at: dict[type[e.Event], float] = {type(record.event): record.time for record in recorded}
    logs = {name: sha for record in recorded for name, sha in getattr(record.event, "artefacts", {}).items()}
    service = told(kept, logs["service.log"], "stub-engine")
    client = told(kept, logs["client.log"], "stub-client")
    return Evaluation(
        whole=next_launch - at[e.ServiceLaunching],
        service=service["ready"] - service["process"],
        client=client["ended"] - client["process"],
        announced_to_spawned=service["process"] - at[e.ServiceLaunching],
        ready_to_noticed=at[e.ServiceReady] - service["ready"],
        started_to_spawned=client["process"] - at[e.MeasurementStarted],
        ended_to_noticed=at[e.MeasurementFinished] - client["ended"],
        stopping=at[e.ServiceStopped] - at[e.ServiceStopping],
        between=next_launch - at[e.ServiceStopped],
    )


def report(found: list[Evaluation]) -> dict[str, Any]:
    overheads = sorted(evaluation.overhead for evaluation in found)
    return {
        "evaluations": len(found),
        "median": median(overheads),
        "p90": quantiles(overheads, n=10)[-1],
        "goal": GOAL,
        "met": median(overheads) < GOAL,
        "parts_median": {part: median(getattr(evaluation, part) for evaluation in found) for part in PARTS},
        "excluded_median": {
            "service": median(evaluation.service for evaluation in found),
            "client": median(evaluation.client for evaluation in found),
        },
        "machine": f"{platform.node()}: {processor()}, {os.cpu_count()} cores, {platform.release()}",
        "python": platform.python_version(),
    }


def processor() -> str:
    names = re.findall(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return names[0] if names else platform.machine()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--evaluations", type=int, default=30)
    parser.add_argument("--directory", type=Path, help="where the journal lies during the measurement")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.directory, prefix="overhead-") as directory:
        configuration = stub_run(
            Path(directory), n_particles=asked.evaluations + 1, iters=1, searched=["MAX_NUM_SEQS", "CONCURRENCY"]
        )
        # One load on each launch, so that every evaluation is whole.
        configuration.write_text(configuration.read_text() + "\n[search]\nloads_per_launch = 1\n")
        ended, recorded, _ = standalone(configuration, limit=20.0 + 3.0 * asked.evaluations)
        if ended.returncode != 0:
            print(ended.stderr, file=sys.stderr)
            return 1
        figures = report(evaluations(recorded, ArtefactStore(Path(directory) / "state")))
    if asked.json:
        print(json.dumps(figures, indent=2))
        return 0
    print(f"overhead per evaluation: median {figures['median']:.3f} s, p90 {figures['p90']:.3f} s "
          f"({figures['evaluations']} evaluations; goal: median < {GOAL} s; the predecessor: 5.02 s)")  # fmt: skip
    for part, seconds in {**figures["parts_median"], **figures["excluded_median"]}.items():
        own = "  (not counted)" if part in figures["excluded_median"] else ""
        print(f"  {part.replace('_', ' '):24} {seconds:8.4f} s{own}")
    print(f"  {figures['machine']}, Python {figures['python']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
