"""How fast the simulator is, and where its time goes.

Run: PYTHONPATH=tests python tests/bench/simulator_speed.py [--repeat 7] [--largest 100000] [--model FILE]

A model of the 8-billion class by its coefficients: 1,000 requests of 512 tokens in and 700 out (both +-50 %), 160 at once,
which is about 5,000 steps with batches of about 140. Prints the time of a whole benchmark (its requests, the time line
and the client's metrics) on one core, the shares of its parts, the same for vLLM's other settings and for MindIE, then
the time per step of longer and longer benchmarks, then a profile.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from linear_step_times import LinearStepTimes
from serviceoptd.predicting.model_file import load
from serviceoptd.simulation.schedulers.mindie import MindieLimits, MindieScheduler
from serviceoptd.simulation.schedulers.vllm import VllmScheduler
from serviceoptd.simulation.schedulers.vllm_limits import VllmLimits
from serviceoptd.simulation.virtual_clock.arrivals import arrivals
from serviceoptd.simulation.virtual_clock.client_metrics import client_metrics
from serviceoptd.simulation.virtual_clock.interface import Request, Scheduler, StepTimes
from serviceoptd.simulation.virtual_clock.lengths import RandomLengths, random_requests
from serviceoptd.simulation.virtual_clock.overheads import Overheads
from serviceoptd.simulation.virtual_clock.timeline import simulate

STEP_TIMES = LinearStepTimes(
    step=0.012,
    with_prefill=0.001,
    prefill_sequence=1e-4,
    prefill_token=5e-5,
    prefill_attention=1e-9,
    decode_sequence=6e-5,
    decode_context=7e-8,
)
OVERHEADS = Overheads(delay=0.004, work_per_request=1e-3, work_per_prompt_token=1e-6, return_delay=2e-3)
LENGTHS = RandomLengths(input_tokens=512, output_tokens=700, range_ratio=0.5)
VLLM = VllmLimits(max_num_seqs=256, max_num_batched_tokens=2048, max_model_len=4096, kv_blocks=12_000)
MINDIE = MindieLimits(
    max_batch_size=256,
    max_prefill_batch_size=32,
    max_prefill_tokens=8192,
    max_seq_len=4096,
    npu_blocks=2000,
    support_select_batch=True,
)
SETTINGS: dict[str, Callable[[list[Request]], Scheduler]] = {
    "vLLM": lambda requests: VllmScheduler(requests, VLLM),
    "vLLM, two batches in flight": lambda requests: VllmScheduler(requests, replace(VLLM, async_scheduling=True)),
    "vLLM, prefix cache": lambda requests: VllmScheduler(requests, replace(VLLM, enable_prefix_caching=True)),
    "vLLM, half the KV blocks": lambda requests: VllmScheduler(requests, replace(VLLM, kv_blocks=6000)),
    "MindIE": lambda requests: MindieScheduler(requests, MINDIE),
}


@dataclass(frozen=True)
class Measured:
    requests: float  # seconds
    time_line: float
    metrics: float
    steps: int
    batch: float  # tokens a step
    simulated: float  # seconds of the virtual clock

    @property
    def whole(self) -> float:
        return self.requests + self.time_line + self.metrics


def measured(number: int, scheduler: Callable[[list[Request]], Scheduler], step_times: StepTimes) -> Measured:
    times = [time.perf_counter()]
    requests = random_requests(arrivals(number, request_rate=None), LENGTHS)
    times.append(time.perf_counter())
    timeline = simulate(requests, scheduler(requests), step_times, overheads=OVERHEADS, concurrency=160)
    times.append(time.perf_counter())
    metrics = client_metrics(requests, timeline)
    times.append(time.perf_counter())
    parts = [later - earlier for earlier, later in pairwise(times)]
    tokens = metrics.output_tokens or 0
    return Measured(parts[0], parts[1], parts[2], timeline.steps, tokens / timeline.steps, timeline.ended)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--largest", type=int, default=100_000)
    parser.add_argument("--model", type=Path)
    options = parser.parse_args()
    step_times: StepTimes = load(options.model).model if options.model else STEP_TIMES

    print(f"1,000 requests, median of {options.repeat} (least): milliseconds on one core")
    for name, scheduler in SETTINGS.items():
        runs = sorted((measured(1000, scheduler, step_times) for _ in range(options.repeat)), key=lambda run: run.whole)
        run = runs[len(runs) // 2]
        print(
            f"  {name:28} {run.whole * 1e3:6.1f} ({runs[0].whole * 1e3:.1f}): requests {run.requests * 1e3:.1f},"
            f" time line {run.time_line * 1e3:.1f}, metrics {run.metrics * 1e3:.1f}; {run.steps} steps of"
            f" {run.batch:.0f} tokens, {run.time_line / run.steps * 1e6:.1f} us each;"
            f" {run.simulated / run.whole:,.0f} times real time"
        )

    print("Longer benchmarks: seconds, microseconds a step")
    number = 1000
    while number <= options.largest:
        whole = [measured(number, SETTINGS["vLLM"], step_times) for _ in range(3 if number < 100_000 else 1)]
        run = whole[0]
        least = statistics.median(other.whole for other in whole)
        print(f"  {number:7} requests, {run.steps:7} steps: {least:7.2f} s, {least / run.steps * 1e6:5.1f} us")
        number *= 10

    print("Profile of the first (a profile's own cost included):")
    profile = cProfile.Profile()
    profile.runcall(measured, 1000, SETTINGS["vLLM"], step_times)
    pstats.Stats(profile).strip_dirs().sort_stats("tottime").print_stats(14)


if __name__ == "__main__":
    main()
