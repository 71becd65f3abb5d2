"""The latency model on a real vLLM on the CPU: trained on some configurations, asked about others.

Run: PYTHONPATH=tests python tests/bench/predicted_against_measured.py DIRECTORY

Profiles three workloads (`serviceoptctl profile`), trains on them (`train`), then measures other configurations, loads and
lengths with a service that records nothing, by the daemon's own code, and predicts them as `trust` does. Each of these
points is measured in three rounds, each on a launch of its own: a service that was launched again, or minutes later, is
not as fast as before. DIRECTORY keeps everything; called again, it goes on where it stopped, and `--only-compare` measures
nothing. The machine should do nothing else: what else runs is in the model and in the measurements. About an hour.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import listed_points
import numpy as np
from load_search_against_grid import REAL, export

from real.tuning import APART
from serviceopt_journal.codec import Recorded
from serviceopt_journal.events import Configuration
from serviceopt_journal.places import Places
from serviceoptd import foreground
from serviceoptd.domain.evolve import fold
from serviceoptd.domain.objective import aggregate
from serviceoptd.domain.state import RunState, State
from serviceoptd.predicting.prediction import Predictor
from serviceoptd.predicting.section import SimulatedSection
from serviceoptd.predicting.validation import READINGS, Point, errors, points
from stubs.scenario import client, free_port, records

MODEL = "model/latency_model.json"
ROUNDS = 3
GOALS = {"generate_speed": 0.03, "tpot mean": 0.03, "ttft mean": 0.08, "ttft p99": 0.20}


@dataclass(frozen=True)
class Workload:
    """Means of the lengths (uniform, `range_ratio` around them), and the requests of one measurement."""

    input_tokens: int
    output_tokens: int
    range_ratio: float
    num_prompts: int
    rates: bool  # REQUESTRATE is searched too


LEARNT = {
    "long": Workload(300, 24, 0.3, 120, rates=False),
    "middle": Workload(160, 48, 0.3, 120, rates=False),
    "short": Workload(72, 56, 0.4, 120, rates=True),
}
ASKED: dict[str, tuple[Workload, tuple[tuple[int, int, tuple[float, ...]], ...]]] = {
    "usual": (Workload(128, 32, 0.2, 96, rates=False), ((12, 192, (5, 12, 18, 26)), (24, 640, (3, 9, 15, 24)))),
    "longer": (Workload(224, 40, 0.3, 96, rates=False), ((9, 448, (4, 9, 14, 20)), (28, 256, (6, 11, 28)))),
    "arriving": (Workload(96, 48, 0.3, 80, rates=True), ((20, 384, (2, 3.5, 5)), (8, 768, (1.5, 3, 4.5)))),
}
"""Name -> workload, and of each service MAX_NUM_SEQS, MAX_NUM_BATCHED_TOKENS and its concurrencies, or requests/s."""
UNLIMITED = 48  # requests at once where they come at a rate

SERVICE = """
launch_timeout = 600
measurement_timeout = 600
budget = {budget}
tpot_slo = {tpot}
{search}

[early_stopping]
enabled = false

[proof]
measurements = 0

[measurement]
warm_up_requests = 4
"""
LISTED = '[search]\nstrategy = "listed"\nrules = []\nreuse_measurements = false\nwarm_start = false\n'
FIELD = '[[vllm.target_field]]\nname = "{}"\nconfig_position = "env"\ndtype = "{}"\nmin = {}\nmax = {}\nvalue = {}\n'


def configuration(workload: Workload, *, budget: int = 1, search: str = "", tpot: float = 1.0) -> str:
    """A configuration of serviceopt for one workload."""
    fields = [
        FIELD.format("MAX_NUM_SEQS", "int", 4, 32, 16),
        FIELD.format("MAX_NUM_BATCHED_TOKENS", "int", 128, 1024, 512),
    ]
    fields.append(FIELD.format("CONCURRENCY", "int", 2, UNLIMITED, 16))
    if workload.rates:
        fields.append(FIELD.format("REQUESTRATE", "float", 0.5, 8, 2))
    lengths = f"--random-input-len {workload.input_tokens} --random-output-len {workload.output_tokens}"
    client = f"{lengths} --random-range-ratio {workload.range_ratio}"
    service = REAL.format(port=free_port(), prompts=workload.num_prompts, client=client)
    return SERVICE.format(budget=budget, search=search, tpot=tpot) + service + "\n".join(fields)


def learn(directory: Path, services: int, loads: int) -> None:
    """Profiles each workload that is not complete yet, and trains."""
    for number, (name, workload) in enumerate(LEARNT.items()):
        file = directory / f"{name}.toml"
        if not file.exists():
            file.write_text(configuration(workload))
        asked = ("-o", f"profile/{name}", "--configurations", services, "--loads", loads, "--seed", number)
        ours(directory, "profile", "-c", file.name, *map(str, asked))
    ours(directory, "train", "-i", "profile", "-o", "model")


def ours(directory: Path, *arguments: str) -> None:
    """A command of serviceopt, whose output is shown."""
    environment = {"PATH": os.defpath, "HOME": str(directory), **APART}
    ended = client(*arguments, environment=environment, limit=7200, cwd=directory)
    print(ended.stderr, ended.stdout, sep="", flush=True)
    if ended.returncode:
        raise SystemExit(f"serviceoptctl {' '.join(arguments)}: exit code {ended.returncode}")


def measure(directory: Path, number: int) -> None:
    """A run for each workload that is asked about and was not measured in this round yet."""
    for name, (workload, services) in ASKED.items():
        state = measured_in(directory, name, number)
        if state.exists():
            continue
        asked = tuple(point(workload, *service, load) for *service, loads in services for load in loads)
        listed_points.Listed.points = asked if number % 2 else asked[::-1]
        text = configuration(workload, budget=len(asked), search=LISTED)
        submission = {
            "configuration_text": f'engine = "vllm"\nbenchmark = "vllm_benchmark"\nname = "{name}"\n{text}',
            "working_directory": str(directory),
            "environment": {"PATH": os.defpath, "HOME": str(directory), **APART},
        }
        print(f"{name}, round {number}: {len(asked)} points, load average {os.getloadavg()[0]:.1f}", flush=True)
        run, _ = foreground.standalone(submission, places=Places(state, state / "s"))
        if not run.over:
            raise SystemExit(f"the run {name} is not over: {run.paused or 'interrupted'}")


def measured_in(directory: Path, name: str, number: int) -> Path:
    """The journal of a workload in one round."""
    return directory / "measured" / f"{name}-{number}"


def point(workload: Workload, sequences: int, tokens: int, load: float) -> Configuration:
    """One configuration."""
    service: Configuration = {"MAX_NUM_SEQS": sequences, "MAX_NUM_BATCHED_TOKENS": tokens}
    if workload.rates:
        return {**service, "CONCURRENCY": UNLIMITED, "REQUESTRATE": load}
    return {**service, "CONCURRENCY": int(load)}


def compared(directory: Path) -> dict[str, list[Point]]:
    """Every measured point with its prediction and what all rounds measured, by workload."""
    found = {}
    for name, (workload, _) in ASKED.items():
        options = SimulatedSection(
            model=MODEL, input_tokens=workload.input_tokens, output_tokens=workload.output_tokens,
            range_ratio=workload.range_ratio,
        )  # fmt: skip
        predictor = Predictor.of(options, directory)
        states = [measured_in(directory, name, number) for number in range(1, ROUNDS + 1)]
        rounds = [
            points(only_run(records(state)), predictor, simulated=False, lengths_from_metrics=False)
            for state in states
            if state.exists()
        ]
        found[name] = [
            together([each for each in chain(*rounds) if each.configuration == first.configuration])
            for first in (rounds[0] if rounds else [])
        ]
    return found


def together(rounds: list[Point]) -> Point:
    """One point of the same one in several rounds."""
    measured = tuple(metrics for each in rounds for metrics in each.measured)
    return replace(rounds[0], measured=measured, median=aggregate(measured))


def only_run(recorded: list[Recorded]) -> RunState:
    """The run of a journal that has one."""
    state = State()
    for record in recorded:
        state = fold(state, record)
    (run,) = state.runs.values()
    return run


def report(found: Mapping[str, list[Point]]) -> None:
    """Prints the table of every point as Markdown, and the errors of all, of each workload, and within the training data."""
    print("| workload | seqs | tokens | load |" + "".join(f" {reading} |" for reading in GOALS))
    print("|---|---|---|---|" + "---|" * len(GOALS))
    for name, some in found.items():
        for each in some:
            service = each.configuration
            load = f"{service['REQUESTRATE']:g}/s" if "REQUESTRATE" in service else str(service["CONCURRENCY"])
            beyond = "\\*" if each.remark else ""
            cells = "".join(f" {cell(each, reading)} |" for reading in GOALS)
            print(
                f"| {name} | {service['MAX_NUM_SEQS']} | {service['MAX_NUM_BATCHED_TOKENS']} | {load}{beyond} |{cells}"
            )
    everything = [each for several in found.values() for each in several]
    within = [each for each in everything if not each.remark]
    for name, some in {"all": everything, "within the training data": within, **found}.items():
        print(f"\n{name}: {len(some)} points")
        for line in errors(some):
            rank = "-" if line.rank is None else f"{line.rank:.3f}"
            goal = f" (goal {GOALS[line.reading]:.0%})" if line.reading in GOALS else ""
            spread = np.median([largest_spread(each, line.reading) for each in some])
            print(
                f"  {line.reading:15} median error {line.median:6.1%}{goal}, 90th percentile {line.p90:6.1%}, "
                f"bias {line.bias:+6.1%}, rank correlation {rank}, median spread of {ROUNDS} rounds {spread:5.1%}"
            )
    for reading, goal in GOALS.items():
        kept = sum(off(each, reading) <= max(goal, largest_spread(each, reading)) for each in everything)
        print(f"{reading}: {kept} of {len(everything)} points within {goal:.0%} or their own spread")


def off(each: Point, reading: str) -> float:
    """|predicted / measured - 1|; infinite where one is missing."""
    pair = each.pair(reading)
    return abs(pair[1] / pair[0] - 1) if pair else float("inf")


def largest_spread(each: Point, reading: str) -> float:
    """Of the measurements' deviations from their median, the largest."""
    values = np.array([READINGS[reading](metrics) or np.nan for metrics in each.measured])
    return float(np.nanmax(np.abs(values / np.nanmedian(values) - 1)))


def cell(each: Point, reading: str) -> str:
    """Median of the repeats and their spread, and the prediction's deviation from it."""
    pair = each.pair(reading)
    if pair is None:
        return each.refused or "-"
    value = f"{pair[0]:.0f}" if reading == "generate_speed" else f"{1000 * pair[0]:.0f} ms"
    return f"{value} ±{largest_spread(each, reading):.0%}, {pair[1] / pair[0] - 1:+.0%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--configurations", type=int, default=3, help="that are profiled, for each workload")
    parser.add_argument("--loads", type=int, default=3, help="for each of them")
    parser.add_argument("--only-compare", action="store_true", help="with what the directory holds")
    asked = parser.parse_args()
    directory = asked.directory.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    if not asked.only_compare:
        if not (directory / "engines").exists():
            caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
            engines = os.environ.get("SERVICEOPT_REAL_ENGINES") or caches / "serviceopt/real-engines"
            (directory / "engines").symlink_to(engines)
        if not (directory / MODEL).exists():
            learn(directory, asked.configurations, asked.loads)
        if not (directory / "plugin").exists():
            listed_points.install(directory)
        else:
            sys.path.append(str(directory / "plugin"))
        for number in range(1, ROUNDS + 1):
            measure(directory, number)
    report(compared(directory))
    for state in (measured_in(directory, name, number) for name in ASKED for number in range(1, ROUNDS + 1)):
        if state.exists():
            export(records(state), directory / f"{state.name}.events.jsonl.gz")


if __name__ == "__main__":
    main()
