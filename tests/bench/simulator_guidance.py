"""What a simulator's advice is worth to a search, and what it costs where the simulator is wrong.

Run: PYTHONPATH=tests python tests/bench/simulator_guidance.py [--seeds 20] [--evaluations 30] [--processes 4]

The machines are invented: the virtual time line with coefficients of their own for each seed, products in tiles, noise.
Nothing here was measured on a real one. Proposals, first particles and rejections are those of the daemon's own code.

Simulators: `right`, the machine's own coefficients, each some 10 % off, without tiles and overheads; `biased`, the same
with every step 1.3 times as long; `wrong`, the right one asked about another configuration, mirrored in every parameter.
Counted are the evaluations until one keeps every objective in truth and reaches 95 % of the best that is known of this
machine. `false`: rejected although it keeps every objective in truth and is better than the best measured until then.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Any

import msgspec
import numpy as np

from linear_step_times import LinearStepTimes
from run_stories import Story
from serviceopt_journal import events as e
from serviceopt_journal.events import Configuration
from serviceopt_journal.metrics import Metrics
from serviceoptd.config.plugins import strategy_class
from serviceoptd.domain.numbered import Numbered
from serviceoptd.domain.objective import judge
from serviceoptd.domain.settings import Budget, Field, Measuring, Objective, RunSettings, Search, Slo
from serviceoptd.domain.state import RunState, State
from serviceoptd.evaluating.proposing import propose
from serviceoptd.rules.simulated import SimulatedRule
from serviceoptd.simulation.advice.simulator import Simulated, Simulator
from serviceoptd.simulation.schedulers.vllm_limits import VllmLimits
from serviceoptd.simulation.virtual_benchmark import Traffic, run_benchmark
from serviceoptd.simulation.virtual_clock.interface import Composed
from serviceoptd.simulation.virtual_clock.lengths import RandomLengths
from serviceoptd.simulation.virtual_clock.overheads import Overheads

ARMS = ("none", "right", "biased", "wrong")
REACHED = 0.95
BIAS = 1.3
USUAL = LinearStepTimes(
    step=0.012,
    with_prefill=0.001,
    prefill_sequence=1e-4,
    prefill_token=5e-5,
    prefill_attention=1e-9,
    decode_sequence=6e-5,
    decode_context=7e-8,
)
FIELDS = (
    Field(name="MAX_NUM_SEQS", dtype="int", min=8, max=512, value=256),
    Field(name="MAX_NUM_BATCHED_TOKENS", dtype="int", min=512, max=16384, value=2048),
    Field(name="CONCURRENCY", dtype="int", min=4, max=400, value=32, load=True),
)
NOISE = {"speed": 0.025, "ttft": 0.06, "tpot": 0.026}
PROMPTS = 300


@dataclass(frozen=True)
class Tiled:
    """Step times whose tokens count in tiles."""

    linear: LinearStepTimes
    tile: int = 64

    def step_seconds(self, step: Composed) -> float:
        tiles = -(-(step.prefill_tokens + step.decode_sequences) // self.tile) * self.tile
        return self.linear.step_seconds(step) + 1e-5 * tiles


@dataclass(frozen=True)
class Machine:
    """One invented machine with its requests and its objective."""

    step_times: Any
    overheads: Overheads
    lengths: RandomLengths
    kv_blocks: int

    def measured(self, configuration: Configuration, seed: int) -> Metrics:
        """Without noise, for requests drawn by `seed`."""
        numbers = {name: int(value) for name, value in configuration.items()}
        limits = VllmLimits(
            max_num_seqs=numbers["MAX_NUM_SEQS"],
            max_num_batched_tokens=numbers["MAX_NUM_BATCHED_TOKENS"],
            max_model_len=4096,
            kv_blocks=self.kv_blocks,
        )
        traffic = Traffic(
            num_prompts=PROMPTS, lengths=self.lengths, concurrency=numbers["CONCURRENCY"], request_rate=None
        )
        return run_benchmark(traffic, limits, self.step_times, overheads=self.overheads, seed=seed)


def machines(seed: int) -> tuple[Machine, Machine, Objective]:
    """The true one, the right simulator's, and what is wanted of them."""
    draws = np.random.default_rng(seed)
    own = _scaled(USUAL, np.exp(0.3 * draws.standard_normal(7)))
    told = _scaled(own, np.exp(0.1 * draws.standard_normal(7)))
    lengths = RandomLengths(
        input_tokens=int(draws.integers(200, 1500)), output_tokens=int(draws.integers(50, 300)), range_ratio=0.5
    )
    true = Machine(
        step_times=Tiled(own),
        overheads=Overheads(delay=0.004, work_per_request=1e-3, work_per_prompt_token=1e-6, return_delay=2e-3),
        lengths=lengths,
        kv_blocks=int(draws.integers(4000, 30000)),
    )
    objective = Objective(
        slos=(
            Slo(metric="ttft", limit=float(draws.uniform(0.5, 4.0))),
            Slo(metric="tpot", limit=own.step * float(draws.uniform(2.0, 6.0))),
        )
    )
    return true, replace(true, step_times=told, overheads=Overheads()), objective


def _scaled(times: LinearStepTimes, factors: Sequence[float]) -> LinearStepTimes:
    names = times.__dataclass_fields__
    return LinearStepTimes(**{name: getattr(times, name) * float(f) for name, f in zip(names, factors, strict=True)})


class Slower:
    """Step times a fixed factor longer."""

    def __init__(self, times: LinearStepTimes) -> None:
        self._times = times

    def step_seconds(self, step: Composed) -> float:
        return BIAS * self._times.step_seconds(step)


class Advisor:
    """Gives a run its simulator; stands in for `serviceoptd.evaluating.advising.Advisors`."""

    def __init__(self, arm: str, machine: Machine, run: RunState) -> None:
        if arm == "biased":
            machine = replace(machine, step_times=Slower(machine.step_times))
        space, mirrored = run.space, arm == "wrong"

        @cache
        def simulated(values: tuple[tuple[str, Any], ...]) -> Simulated:
            configuration = dict(values)
            if mirrored:
                configuration = space.decode([1.0 - x for x in space.encode(configuration)])
            return Simulated(machine.measured(configuration, seed=1))

        self._simulator = lambda configuration, slos: simulated(tuple(configuration.items()))

    def of(self, run: RunState) -> Simulator:
        return self._simulator


@dataclass(frozen=True)
class Outcome:
    """One search."""

    seed: int
    arm: str
    values: tuple[float, ...]  # true objective of each evaluation; 0 where it truly violates an objective
    rejected: int
    false: int


def searched(seed: int, arm: str, evaluations: int, strategy: str) -> Outcome:
    """A search of so many evaluations."""
    true, told, objective = machines(seed)
    settings = RunSettings(
        engine="invented", benchmark="invented", fields=FIELDS, objective=objective,
        search=Search(strategy=strategy, n_particles=10, iters=max(1, evaluations // 10), audit_share=0.0),
        budget=Budget(evaluations=evaluations), measuring=Measuring(repeats=1),
    )  # fmt: skip
    run = Story(settings, seed=seed).run
    advisors: Any = Advisor(arm, told, run) if arm != "none" else None
    draws = np.random.default_rng([seed, 1])

    @cache
    def truth(values: tuple[tuple[str, Any], ...]) -> tuple[Metrics, float]:
        metrics = true.measured(dict(values), seed=0)
        verdict = judge(metrics, objective)
        return metrics, (verdict.objective or 0.0) if verdict.feasible else 0.0

    found: list[float] = []
    rejected = false = 0
    while len(found) < evaluations:
        number = len(run.particles) + 1
        rules = [SimulatedRule] if advisors else []
        state = State(runs=Numbered({1: run}))
        events = propose(state, run, number, strategy_class(strategy), rules, None, advisors)
        if events is None:
            break
        proposed = next(event for event in events if isinstance(event, e.ParticleProposed))
        metrics, value = truth(tuple(proposed.configuration.items()))
        story = Story(settings, seed=seed)
        story.state = state
        run = story.tell(*events)
        if any(isinstance(event, e.ParticleRejected) for event in events):
            rejected += 1
            false += value > max(found, default=0.0)
        elif not any(isinstance(event, e.ParticleMatched) for event in events):
            found.append(value)
            factors = np.exp(np.array(list(NOISE.values())) * draws.standard_normal(3)).tolist()
            noisy = msgspec.structs.replace(
                metrics,
                generate_speed=metrics.generate_speed * factors[0],
                throughput=metrics.throughput * factors[0],
                ttft={"mean": metrics.ttft["mean"] * factors[1]},
                tpot={"mean": metrics.tpot["mean"] * factors[2]},
            )
            measured = msgspec.structs.replace(run.particles[number], measurements=(noisy,))
            run = msgspec.structs.replace(run, particles=run.particles | {number: measured})
    return Outcome(seed, arm, tuple(found), rejected, false)


def _job(job: tuple[int, str, int, str]) -> Outcome:
    return searched(*job)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--evaluations", type=int, default=30)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--strategy", default="swarm")
    told = parser.parse_args()
    jobs = [(seed, arm, told.evaluations, told.strategy) for seed, arm in product(range(told.seeds), ARMS)]
    with ProcessPoolExecutor(told.processes) as pool:
        outcomes = list(pool.map(_job, jobs))
    best = {seed: max(max(o.values) for o in outcomes if o.seed == seed) for seed in range(told.seeds)}
    impossible = [seed for seed, value in best.items() if value == 0]
    print("INVENTED MACHINES: nothing here was measured on a real one.")
    print(
        f"{told.seeds - len(impossible)} machines ({len(impossible)} on which nothing kept the objectives left out)\n"
    )
    print("| simulator | median | mean | 90th percentile | best at 5 | at 10 | at 20 | rejected | of these false |")
    print("|---|---|---|---|---|---|---|---|---|")
    for arm in ARMS:
        own = [o for o in outcomes if o.arm == arm and best[o.seed] > 0]
        needed = [
            next((n for n, v in enumerate(o.values, 1) if v >= REACHED * best[o.seed]), told.evaluations + 1)
            for o in own
        ]
        shares = [np.mean([max(o.values[:n]) / best[o.seed] for o in own]) for n in (5, 10, 20)]
        rejected, false = sum(o.rejected for o in own), sum(o.false for o in own)
        cells = [f"{np.median(needed):g}", f"{np.mean(needed):.1f}", f"{math.ceil(np.quantile(needed, 0.9))}"]
        cells += [f"{share:.3f}" for share in shares] + [f"{rejected / len(own):.1f}", f"{false / len(own):.2f}"]
        print(f"| {arm} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
