"""The tables of analytic landscapes in docs/evidence/: how good what was found, and what is recommended, is.

Run: PYTHONPATH=tests/bench python tests/bench/landscape_table.py --bench DIRECTORY [--adapter MODULE:CLASS ...]
     [--landscapes P1,P2,P3,P4] [--seeds 20] [--first-seed 0] [--budget 100] [--hours 8] [--processes 4]

DIRECTORY holds the bench, `serving_bench.py` with its optima; nothing of it is copied here. An adapter is a class of
`landscape_adapter` (`Adapter`, `PlainSwarm`, `WithoutLoadSearch`, `WithoutRejection`), MODULE:CLASS of another module,
or `peer:NAME` of the bench's own. The figures do not depend on the number of processes.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean, median
from typing import Any

GOOD = 0.95


@dataclass(frozen=True)
class Job:
    """One run of one optimiser on one landscape."""

    bench: str
    adapter: str
    landscape: str
    seed: int
    budget: int
    hours: float | None


@dataclass(frozen=True)
class Score:
    """Shares of the optimum, by column of the table."""

    job: Job
    found: tuple[float, ...]
    picked: tuple[float, ...]


def score(job: Job) -> Score:
    """Runs it; in a process of its own."""
    bench = bench_of(job.bench)
    landscape = bench.Analytic(job.landscape)
    landscape.optimum = json.loads((Path(job.bench) / "optima_public.json").read_text())[job.landscape]["speed"]
    result = bench.run_once(optimiser(job.adapter, bench), landscape, job.budget, job.seed, job.hours)

    def at(trace: Sequence[float]) -> tuple[float, ...]:
        return tuple(trace[index] / landscape.optimum for _, index in bench.columns(job.budget, job.hours))

    picked = tuple(min(1.0, share) for share in at(result["picked"]))  # what misses a limit by 5 % may be faster
    return Score(job, at(result["found"]), picked)


def bench_of(directory: str) -> Any:
    """The bench's own module, from where it lies."""
    if directory not in sys.path:
        sys.path.insert(0, directory)
    return importlib.import_module("serving_bench")


def optimiser(adapter: str, bench: Any) -> Any:
    """A class with `ask` and `tell`."""
    module, _, name = adapter.rpartition(":")
    return (
        bench.PEERS[name] if module == "peer" else getattr(importlib.import_module(module or "landscape_adapter"), name)
    )


def table(scores: Sequence[Score], adapter: str, labels: Sequence[str]) -> str:
    """Markdown: median over seeds of `found` and `picked` for each landscape, and over all of them."""
    found_here = [each for each in scores if each.job.adapter == adapter]
    landscapes = list(dict.fromkeys(each.job.landscape for each in found_here))
    columns = range(len(labels))
    lines = [
        f"| {adapter}: found | {' | '.join(labels)} | picked: {' | '.join(labels)} |",
        "|---" * (2 * len(labels) + 1) + "|",
    ]
    medians: list[list[float]] = []
    for landscape in landscapes:
        of = [each for each in found_here if each.job.landscape == landscape]
        cells = [median(each.found[column] for each in of) for column in columns]
        medians.append(cells + [median(each.picked[column] for each in of) for column in columns])
        lines.append(line(landscape, medians[-1]))
    lines.append(line("median of them", [median(column) for column in zip(*medians, strict=True)]))
    lines.append(line("worst of them", [min(column) for column in zip(*medians, strict=True)]))
    good = [fmean(each.found[column] >= GOOD for each in found_here) for column in columns]
    good += [fmean(each.picked[column] >= GOOD for each in found_here) for column in columns]
    return "\n".join([*lines, f"| runs at {GOOD} or more | {' | '.join(f'{share:.0%}' for share in good)} |"])


def line(name: str, cells: Sequence[float]) -> str:
    """One row of shares."""
    return f"| {name} | {' | '.join(f'{cell:.3f}' for cell in cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", required=True, help="directory of serving_bench.py")
    parser.add_argument("--adapter", action="append", help="may repeat")
    parser.add_argument("--landscapes", default="P1,P2,P3,P4")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--budget", type=int, default=100)
    parser.add_argument("--hours", type=float, help="score at 2, 4 and 8 hours; --budget then only bounds the steps")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    adapters, directory = given.adapter or ["Adapter"], str(Path(given.bench).resolve())
    jobs = [
        Job(directory, adapter, landscape, seed, given.budget, given.hours)
        for seed in range(given.first_seed, given.first_seed + given.seeds)
        for landscape in given.landscapes.split(",")
        for adapter in adapters
    ]
    labels = [label.removeprefix("N=") for label, _ in bench_of(directory).columns(given.budget, given.hours)]
    for library in ("OPENBLAS", "OMP", "MKL"):  # a thread for each process; read when they import numpy
        os.environ[f"{library}_NUM_THREADS"] = "1"
    with get_context("spawn").Pool(given.processes) as pool:
        scores = pool.map(score, jobs, chunksize=1)
    print("\n\n".join(table(scores, adapter, labels) for adapter in adapters))


if __name__ == "__main__":
    main()
