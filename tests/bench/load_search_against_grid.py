"""The default search (loads without restarts, early ends) against a grid of single loads, on a real vLLM on the CPU.

Run: PYTHONPATH=tests python tests/bench/load_search_against_grid.py DIRECTORY

Both tune the same space for the same objectives with the same number of evaluations, by the daemon's own code; in the
grid each evaluation is a launch of its own. Then both winners are launched and measured in turn. DIRECTORY is new and
short: the journals stay in it, and their events are also written to it as `ours`, `grid` and `winners.events.jsonl.gz`.
The machine must do nothing else: limits are taken from it at the beginning, and minutes and winners depend on it.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import fmean, stdev

import listed_points

from real.measuring import measured
from real.tuning import APART
from serviceopt_journal import events as e
from serviceopt_journal.codec import Recorded, encode
from serviceopt_journal.events import Configuration
from serviceopt_journal.metrics import Metrics
from serviceopt_journal.places import Places
from serviceoptd import foreground
from serviceoptd.domain.statistics.confidence import t_quantile
from stubs.scenario import assert_sound, free_port, of_type, records

NAMES = ("ours", "grid")
BOUNDS = {"MAX_NUM_SEQS": (2, 64), "MAX_NUM_BATCHED_TOKENS": (256, 2048), "CONCURRENCY": (2, 64)}
"""The upper ones are the current setting."""
LOADS = (8, 16, 32, 64)
GRID: tuple[Configuration, ...] = tuple(
    {"MAX_NUM_SEQS": seqs, "MAX_NUM_BATCHED_TOKENS": tokens, "CONCURRENCY": load}
    for tokens, load, seqs in product((2048, 512), LOADS, (16, 64))
)
"""What an operator would try, the usual first. Neighbours differ in the service, so each evaluation launches one."""

RUN = """
name = "{name}"
engine = "{engine}"
seed = {seed}
budget = {budget}
ttft_slo = {ttft}
tpot_slo = {tpot}
launch_timeout = 600
measurement_timeout = 600

[search]
strategy = "{strategy}"
reuse_measurements = false
warm_start = false
{rules}

[proof]
measurements = {proof}

[early_stopping]
enabled = {early}
interval = 0.5

[measurement]
warm_up_requests = 4
"""
LENGTHS = "--random-input-len 64 --random-output-len 32"
REAL = """
[vllm]
program = "./engines/vllm/bin/vllm"

[vllm.command]
port = {port}
model = "./engines/model-88m"
served_model_name = "tiny"
others = "--max-model-len 1024 --enforce-eager"

[vllm_benchmark]
program = "./engines/vllm/bin/vllm"

[vllm_benchmark.command]
port = {port}
model = "./engines/model-88m"
served_model_name = "tiny"
dataset_name = "random"
num_prompts = {prompts}
others = "{client} --ignore-eos"
"""
SIMULATED = "\n[simulated]\nnum_prompts = {prompts}\n"


@dataclass(frozen=True)
class Bench:
    """Where it takes place, and what every run of it has in common."""

    directory: Path
    engine: str
    prompts: int
    seed: int
    ttft: float  # limits, seconds
    tpot: float

    def tuned(self, name: str, budget: int, proof: int) -> list[Recorded]:
        """The events of one search."""
        ours = name == "ours"
        fields = [field(key, f"min = {low}\nmax = {high}\nvalue = {high}") for key, (low, high) in BOUNDS.items()]
        self._run(
            name, name, fields, strategy="swarm" if ours else "listed", budget=budget, proof=proof if ours else 0,
            early="true" if ours else "false", rules="" if ours else "rules = []",
        )  # fmt: skip
        recorded = records(self.directory / name)
        assert_sound(recorded)
        return recorded

    def measured(self, name: str, winner: Configuration, number: int) -> Metrics:
        """One measurement of a configuration on a launch of its own."""
        fields = [field(key, f"constant = {value}") for key, value in winner.items()]
        self._run(
            "winners", f"{name} {number}", fields, strategy="random", budget=1, proof=0, early="false",
            rules="rules = []", seed=self.seed + number, client=f" --seed {1000 + number}",
        )  # fmt: skip
        *_, last = of_type(records(self.directory / "winners"), e.RunSubmitted, e.MeasurementFinished)
        if not isinstance(last, e.MeasurementFinished):
            raise SystemExit(f"the winner of {name} could not be measured: see {self.directory / 'winners'}")
        return last.metrics

    def _run(self, journal: str, name: str, fields: Iterable[str], *, client: str = "", **given: object) -> None:
        values = {"name": name, "engine": self.engine, "ttft": self.ttft, "tpot": self.tpot, "seed": self.seed, **given}
        section = SIMULATED if self.engine == "simulated" else REAL
        text = RUN.format(**values) + section.format(port=free_port(), prompts=self.prompts, client=LENGTHS + client)
        state = self.directory / journal
        submission = {
            "configuration_text": text + "".join(f"[[{self.engine}.target_field]]\n{each}" for each in fields),
            "working_directory": str(self.directory),
            "environment": {"PATH": os.defpath, "HOME": str(self.directory), **APART},
        }
        print(f"{name}: begins at a load average of {os.getloadavg()[0]:.1f}", flush=True)
        run, _ = foreground.standalone(submission, places=Places(state, state / "s"))
        if not run.over:
            raise SystemExit(f"the run {name} is not over: {run.paused or 'interrupted'}")


def field(name: str, values: str) -> str:
    """The inner of one table of a target field."""
    return f'name = "{name}"\nconfig_position = "env"\ndtype = "int"\n{values}\n\n'


def limits(engine: str, directory: Path) -> tuple[float, float]:
    """TTFT and TPOT, s: on a real machine between one request alone and a crowd, so that both bind."""
    if engine == "simulated":
        return 1.0, 0.05
    machine = measured(directory / "engines", directory, APART)
    alone, crowded = (
        json.loads((directory / f"calibration-{requests}.json").read_text())["mean_ttft_ms"] / 1000
        for requests in (1, 64)
    )
    return round(0.6 * crowded + 0.4 * alone, 4), machine.limit


def winner(recorded: list[Recorded]) -> tuple[Configuration, bool]:
    """The recommended configuration, and whether the run believes that it keeps the limits."""
    (finished,) = of_type(recorded, e.RunFinished)
    if finished.recommended is None:
        raise SystemExit(f"a run without a recommendation: {finished.reason}")
    (proposed,) = (p for p in of_type(recorded, e.ParticleProposed) if p.particle == finished.recommended)
    return proposed.configuration, finished.feasible


def summary(recorded: list[Recorded]) -> str:
    """What a run has done, and in how many minutes."""
    launches, finished, ended = (
        len(of_type(recorded, kind)) for kind in (e.ServiceLaunching, e.MeasurementFinished, e.MeasurementRejected)
    )
    known = sum(bool(event.stopped_early) for event in of_type(recorded, e.MeasurementFinished))
    return (
        f"{minutes(recorded):5.1f} minutes, {launches} launches, {finished} measurements ({known} of them known early), "
        f"{ended} ended as hopeless or beaten"
    )


def minutes(recorded: list[Recorded]) -> float:
    """From the submission to the end of the run."""
    begin, end = (
        next(record.time for record in recorded if isinstance(record.event, kind))
        for kind in (e.RunSubmitted, e.RunFinished)
    )
    return (end - begin) / 60


def difference(ours: list[Metrics], grid: list[Metrics]) -> tuple[float, float, float]:
    """Mean of the paired differences of log throughput, and its 95 % interval (Student's t)."""
    pairs = [math.log(a.generate_speed / b.generate_speed) for a, b in zip(ours, grid, strict=True)]
    width = t_quantile(0.975, len(pairs) - 1) * stdev(pairs) / math.sqrt(len(pairs))
    return fmean(pairs), fmean(pairs) - width, fmean(pairs) + width


def export(recorded: list[Recorded], file: Path) -> None:
    """The events as `serviceoptctl events --json` prints them."""
    with gzip.GzipFile(file, "wb", mtime=0) as packed:
        packed.writelines(encode(record).rstrip(b"\n") + b"\n" for record in recorded)


def report(bench: Bench, tuned: Mapping[str, list[Recorded]], measured: Mapping[str, list[Metrics]]) -> None:
    """Prints everything that the comparison has found."""
    print(f"limits: mean TTFT {1000 * bench.ttft:.1f} ms, mean TPOT {1000 * bench.tpot:.1f} ms")
    for name, recorded in tuned.items():
        configuration, feasible = winner(recorded)
        print(f"{name}: {summary(recorded)}")
        print(f"      recommends {configuration}{'' if feasible else ' (not thought to keep the limits)'}")
        for number, one in enumerate(measured[name], start=1):
            print(f"      {number}: {row(one)}")
        ttft, tpot = (fmean(getattr(one, metric)["mean"] for one in measured[name]) for metric in ("ttft", "tpot"))
        kept = sum(one.ttft["mean"] <= bench.ttft and one.tpot["mean"] <= bench.tpot for one in measured[name])
        keeps = "keeps" if ttft <= bench.ttft and tpot <= bench.tpot else "BREAKS"
        speed = fmean(one.generate_speed for one in measured[name])
        print(
            f"      mean {speed:.1f} tokens/s, TTFT {1000 * ttft:.1f} ms, TPOT {1000 * tpot:.1f} ms: {keeps} the limits "
            f"on average, kept in {kept} of {len(measured[name])}"
        )
    mean, low, high = difference(measured["ours"], measured["grid"])
    saved = minutes(tuned["grid"]) - minutes(tuned["ours"])
    print(f"log throughput, ours - grid: {mean:+.4f}, 95 % interval {low:+.4f} to {high:+.4f} (paired by round)")
    print(f"ours not worse at 95 % confidence: {'yes' if high >= 0 else 'NO'}{' (better)' if low > 0 else ''}")
    print(f"minutes less: {saved:.1f} ({100 * saved / minutes(tuned['grid']):.0f} %)")


def row(one: Metrics) -> str:
    """One measurement."""
    ttft, tpot = 1000 * one.ttft["mean"], 1000 * one.tpot["mean"]
    return f"{one.generate_speed:8.1f} tokens/s, TTFT {ttft:7.1f} ms, TPOT {tpot:6.1f} ms"


def main() -> None:
    """Tunes twice, measures both winners in turn, and tells."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--engine", choices=("vllm", "simulated"), default="vllm")
    parser.add_argument("--evaluations", type=int, default=8, choices=range(1, len(GRID) + 1), metavar="N")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each winner")
    parser.add_argument("--prompts", type=int, default=80, help="requests of each measurement")
    parser.add_argument("--proof", type=int, default=0, help="confirmations at the end of our run, beyond N")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    directory = asked.directory.absolute()
    directory.mkdir(parents=True)
    caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    engines = os.environ.get("SERVICEOPT_REAL_ENGINES") or caches / "serviceopt/real-engines"
    (directory / "engines").symlink_to(engines)
    listed_points.install(directory)
    listed_points.Listed.points = GRID
    ttft, tpot = limits(asked.engine, directory)
    bench = Bench(directory, asked.engine, asked.prompts, asked.seed, ttft, tpot)
    tuned = {name: bench.tuned(name, asked.evaluations, asked.proof) for name in NAMES}
    measured: dict[str, list[Metrics]] = {name: [] for name in NAMES}
    for number in range(1, asked.rounds + 1):
        for name in NAMES if number % 2 else reversed(NAMES):
            measured[name].append(bench.measured(name, winner(tuned[name])[0], number))
    report(bench, tuned, measured)
    for name in (*NAMES, "winners"):
        export(records(directory / name), directory / f"{name}.events.jsonl.gz")


if __name__ == "__main__":
    main()
