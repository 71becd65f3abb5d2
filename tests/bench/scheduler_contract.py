"""Our scheduler against the real one of an installed vLLM: the same batches, step by step, on random workloads.

Run: python tests/bench/scheduler_contract.py VLLM [--workloads 3000] [--first 0] [--record FILE]

VLLM is the `vllm` program. Prints the first difference of each workload that differs, and exits with 1 if there is one.
`--record` writes the digests of the real scheduler's batches, which tests/daemon/simulation compares without a vLLM.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from serviceoptd.predicting.real_vllm_scheduler import RealVllmScheduler, start_vllm
from serviceoptd.simulation.schedulers.vllm import VllmScheduler

sys.path.insert(0, str(Path(__file__).parents[1]))
from simulated_workloads import described, digest, played, random_workload


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vllm", type=Path)
    parser.add_argument("--workloads", type=int, default=3000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    differing = steps = preemptions = 0
    recorded: list[str] = []
    begun = time.monotonic()
    with start_vllm(options.vllm, environment=os.environ, working_directory=Path.cwd()) as vllm:
        for seed in range(options.first, options.first + options.workloads):
            workload = random_workload(seed)
            real = RealVllmScheduler(workload.requests, workload.limits, vllm)
            if options.record:
                recorded.append(f"{seed} {digest(real, workload)}\n")
                continue
            ours = VllmScheduler(workload.requests, workload.limits)
            for step, (mine, theirs) in enumerate(zip(played(ours, workload), played(real, workload), strict=True)):
                steps += 1
                if described(ours, mine) != described(real, theirs):
                    differing += 1
                    print(f"workload {seed}, step {step}: {workload.limits}")
                    print(f"  ours {described(ours, mine)}\n  real {described(real, theirs)}")
                    break
            preemptions += real.preemptions
    if options.record:
        options.record.write_text("".join(recorded))
    print(
        f"vLLM {real.version}: {options.workloads} workloads, {steps} steps, {preemptions} preemptions,"
        f" {differing} workloads differ, {time.monotonic() - begun:.0f} s"
    )
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
