"""How long the accelerator waits for a proposal of the guided swarm, by how much has been measured.

Run: python tests/bench/proposal_time.py [--trials 10,50,100,200,500,1000]

For each number of trials: a strategy is built, told all of them and asked once, as the daemon does between two
evaluations (on another thread than the one that writes the journal). Prints the seconds of three runs, smallest first,
with the import of the numerical libraries apart. The trials are random configurations of the embedded engine.
"""

from __future__ import annotations

import argparse
import time

from serviceoptd.domain.objective import judge
from serviceoptd.domain.settings import Field, Objective, Search, Slo
from serviceoptd.domain.space.space import Space
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


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", default="10,50,100,200,500,1000")
    counts = [int(count) for count in parser.parse_args().trials.split(",")]
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
