"""Training on a million batches: time and memory, and what one prediction of the result costs.

Run: python tests/bench/train_million.py [--batches 1000000]

The batches are SYNTHETIC (tests/synthetic_batches.py): they say how fast training is, and nothing about any engine.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
import timeit
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from serviceoptd.simulation.step_times.training import train
from serviceoptd.simulation.virtual_clock.interface import StepComposition
from synthetic_batches import CONFIGURATIONS, synthetic_profile


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=1_000_000)
    options = parser.parse_args()
    profile = synthetic_profile(-(-options.batches // len(CONFIGURATIONS)))
    print(f"{len(profile.seconds)} synthetic batches of {len(CONFIGURATIONS)} configurations")
    began, at_last = time.perf_counter(), [time.perf_counter()]

    def shown(what: str, _share: float) -> None:
        now = time.perf_counter()
        print(f"  {now - at_last[0]:6.1f} s until: {what}")
        at_last[0] = now

    trained = train(profile, seed=0, progress=shown)
    print(f"trained in {time.perf_counter() - began:.1f} s")
    print(f"peak memory of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")
    for stage, line in trained.card.by_stage.items():
        print(f"  {stage}: held-out MAPE {line.mape:.2%} (noise of the synthetic times: 1.6 %)")
    print(f"tables differ from the trees by {trained.card.table_deviation:.1e} at most")
    step_seconds, calls = trained.model.step_seconds, 200_000
    mixed, decoding = StepComposition(1, 500, 125_250, 40, 40_000), StepComposition(0, 0, 0, 40, 40_000)
    for name, step in (("mixed batch", mixed), ("decode batch", decoding)):
        seconds = min(timeit.repeat(lambda step=step: step_seconds(step), number=calls, repeat=5)) / calls
        print(f"one prediction of a {name}: {seconds * 1e6:.2f} microseconds")


if __name__ == "__main__":
    main()
