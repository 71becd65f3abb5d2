"""How long the accelerator waits for a proposal, by how much has been measured.

Run: python tests/bench/proposal_time.py [--trials 10,50,100,200,500,1000]
     python tests/bench/proposal_time.py --runs swarm,pso [--evaluations 400]

For each number of trials: a strategy is built, told all of them and asked once, as the daemon does between two
evaluations (on another thread than the one that writes the journal). Prints the seconds of three runs, smallest first,
with the import of the numerical libraries apart. The trials are random configurations of the embedded engine.

With `--runs`, whole runs of each strategy on the daemon's loop, with the rules that are on by default, on an engine and a
client that answer at once. Prints the seconds of processor time that an evaluation takes, all of it (the proposal, the
rules, what is due, the events), over eighths of the run.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from daemon.service.daemons import a_loop, finished, submitted
from memory_journal import MemoryJournal
from serviceopt_journal.codec import Recorded
from serviceopt_journal.events import EvaluationFinished
from serviceoptd.domain.objective import judge
from serviceoptd.domain.settings import Field, Objective, Search, Slo
from serviceoptd.domain.space.space import Space
from serviceoptd.domain.state import State
from serviceoptd.domain.statistics.draws import uniforms
from serviceoptd.search.interface import Problem, Proposal, Trial
from serviceoptd.simulation.demonstration.client import sampled_metrics
from serviceoptd.simulation.demonstration.engine import Load, Machine, Setting, Workload, refused_launch

OBJECTIVE = Objective(slos=(Slo(metric="ttft", limit=1.5), Slo(metric="tpot", limit=0.06)))
SPACE = Space.of(
    [
        Field(name="max_num_seqs", dtype="int", min=8, max=512),
        Field(name="max_num_batched_tokens", dtype="int", min=256, max=16384),
        Field(name="block_size", dtype="enum", dtype_param=[8, 16, 32, 64]),
        Field(name="enable_chunked_prefill", dtype="bool"),
        Field(name="gpu_memory_utilization", dtype="float", min=0.4, max=0.98),
        Field(name="tensor_parallel_size", dtype="enum", dtype_param=[1, 2, 4, 8]),
        Field(name="CONCURRENCY", dtype="int", min=4, max=1000, load=True),
        Field(name="REQUESTRATE", dtype="float", min=0.5, max=60.0, load=True),
    ]
)
LOAD = ("CONCURRENCY", "REQUESTRATE")


def trial(particle: int) -> Trial:
    """A random configuration and what became of it."""
    position = tuple(uniforms(1, "proposal time", particle, len(SPACE.dimensions)))
    configuration = SPACE.decode(position)
    setting = Setting(**{name: value for name, value in configuration.items() if name not in LOAD})  # type: ignore[arg-type]
    failure = refused_launch(Machine(), setting) or ""
    load = Load(int(configuration["CONCURRENCY"]), float(configuration["REQUESTRATE"]))
    metrics = None
    if not failure:
        metrics = sampled_metrics(Machine(), setting, Workload(), load, OBJECTIVE.slos, (1, particle, 1))
    judgement = judge(metrics, OBJECTIVE)
    zeros = (0.0,) * len(position)
    proposal = Proposal(particle, particle % 10, particle // 10, position, zeros, configuration, "swarm")
    return Trial(proposal, judgement.fitness, False, metrics, judgement.objective, failure)


RUN = """
engine = "simulated"
benchmark = "simulated"
n_particles = {members}
iters = {iterations}
seed = 5
ttft_slo = 1.5
tpot_slo = 0.06
[search]
strategy = "{strategy}"
loads_per_launch = 1
[proof]
measurements = 0
[simulated]
launch_seconds = 0.0
measurement_seconds = 0.0
"""


async def whole_run(
    strategy: str, evaluations: int, directory: Path, done: Callable[[int], None] = lambda _: None
) -> list[float]:
    """Processor time of the process at the end of each evaluation of a run; `done` is told how many there were."""
    members = 10 if evaluations % 10 == 0 else 4
    context, loop = a_loop(directory, MemoryJournal())
    number = await submitted(context, RUN.format(strategy=strategy, members=members, iterations=evaluations // members))
    ends: list[float] = [time.process_time()]

    def note(record: Recorded, _state: State) -> None:
        if isinstance(record.event, EvaluationFinished):
            ends.append(time.process_time())
            done(len(ends) - 1)

    context.ledger.listen(note)
    await finished(context, loop, number, limit=12 * 3600.0)
    return ends


def runs(strategies: list[str], evaluations: int) -> None:
    """Prints seconds for each evaluation, by eighths of the run."""
    for strategy in strategies:
        with tempfile.TemporaryDirectory() as directory:
            ends = asyncio.run(whole_run(strategy, evaluations, Path(directory)))
        share = max(1, (len(ends) - 1) // 8)
        for start in range(0, len(ends) - share, share):
            mean = (ends[start + share] - ends[start]) / share
            print(f"{strategy:>8}  evaluations {start + 1:4d} to {start + share:4d}: {mean:.3f} s", flush=True)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", default="10,50,100,200,500,1000")
    parser.add_argument("--runs", default="", help="whole runs of these strategies instead")
    parser.add_argument("--evaluations", type=int, default=400)
    asked = parser.parse_args()
    if asked.runs:
        runs(asked.runs.split(","), asked.evaluations)
        return
    counts = [int(count) for count in asked.trials.split(",")]
    begun = time.perf_counter()
    from serviceoptd.search.swarm import Swarm

    print(f"import of the numerical libraries, once: {time.perf_counter() - begun:.2f} s")
    problem = Problem(space=SPACE, seed=1, search=Search(n_particles=10, iters=100), current=None, objective=OBJECTIVE)
    known = [trial(particle) for particle in range(1, max(counts) + 1)]
    for count in counts:
        seconds = []
        for _ in range(3):
            begun = time.perf_counter()
            strategy = Swarm(problem)
            for each in known[:count]:
                strategy.tell(each)
            strategy.ask(count + 1)
            seconds.append(time.perf_counter() - begun)
        print(f"{count:5d} trials: " + "  ".join(f"{each:.2f}" for each in sorted(seconds)) + " s")


if __name__ == "__main__":
    main()
