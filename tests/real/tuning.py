"""A real vLLM on the CPU, tuned: its configuration, its limits on this machine, and what must hold at the end."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from real.sizes import AVX512, Shape
from serviceopt_journal import events as e
from serviceopt_journal.codec import Recorded
from stubs.scenario import assert_sound, of_type

CONFIGURATION = """
n_particles = 4
iters = 2
budget = {configurations}
seed = {seed}
tpot_slo = {tpot}
tpot_penalty = 1
launch_timeout = 1800
measurement_timeout = 1800

# What is tested here is the way through crashes: every evaluation is a launch, and runs to its end.
[search]
loads_per_launch = 1

[early_stopping]
enabled = false

[proof]
measurements = 0

[measurement]
repeats = {repeats}
warm_up_requests = 4

[health_check.service_errors.fatal_patterns]
out_of_memory = ["MemoryError"]

[vllm]
program = "{program}"

[vllm.command]
host = "127.0.0.1"
port = {port}
model = "{model}"
served_model_name = "tiny"
others = "--max-model-len 1024 --enforce-eager --dtype {dtype}"

[[vllm.target_field]]
name = "MAX_NUM_SEQS"
config_position = "env"
dtype = "int"
min = 2
max = 64
value = 64

[[vllm.target_field]]
name = "MAX_NUM_BATCHED_TOKENS"
config_position = "env"
dtype = "int"
min = 256
max = 2048
value = 2048

[[vllm.target_field]]
name = "CONCURRENCY"
config_position = "env"
dtype = "int"
min = 2
max = 64
value = 64

[vllm_benchmark]
program = "{program}"

[vllm_benchmark.command]
host = "127.0.0.1"
port = {port}
model = "{model}"
served_model_name = "tiny"
dataset_name = "random"
num_prompts = {prompts}
others = "--random-input-len 64 --random-output-len {output} --ignore-eos"
"""

FLAGS = "SERVICEOPT_REAL_FLAGS"
"""The variable that pretends to a processor with these flags alone."""
_PRETENDED = os.environ.get(FLAGS, "")
QUIET = {
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    # the engines' own compiled files are beside their sources, and not where those of our programs are kept meanwhile
    "PYTHONPYCACHEPREFIX": "",
    # PyTorch and oneDNN without AVX-512, on a processor that has it and is to be taken for one that has not
    **(
        {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"} if _PRETENDED and AVX512 not in _PRETENDED else {}
    ),
}
"""Environment of the submitter: no network, no statistics, one GiB of cache."""
APART = {**QUIET, "VLLM_CPU_OMP_THREADS_BIND": "0-1"}
"""The same with the model's threads on two processors; where there are more, server and client do not disturb them."""


def configuration(
    real_engines: Path, shape: Shape, *, dtype: str, model: str, tpot: float, port: int, seed: int = 5
) -> str:
    return CONFIGURATION.format(
        seed=seed, tpot=tpot, program=real_engines / "vllm/bin/vllm", port=port, prompts=shape.prompts, dtype=dtype,
        model=real_engines / model, configurations=shape.configurations, repeats=shape.repeats, output=shape.output,
    )  # fmt: skip


def first_kill(shape: Shape) -> int:
    """Measurements that have finished when the daemon is killed: a fifth of them."""
    return max(1, shape.configurations * shape.repeats // 5 + 1) if shape.configurations > 4 else 1


def wait_until_healthy(port: int, service: subprocess.Popen[bytes], limit: float = 1800.0) -> None:
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        assert service.poll() is None, "the service ended before it was ready"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.25)
    raise TimeoutError(f"the service was not ready within {limit:g} s")


def in_the_middle_of_a_measurement(
    read: Callable[[], list[Recorded]], *, finished: int, alive: Callable[[], bool], limit: float = 3600.0
) -> e.MeasurementStarted:
    """Waits until at least so many measurements have finished and the next one has run for two seconds."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        recorded = read()
        done = len(of_type(recorded, e.MeasurementFinished))
        last = recorded[-1] if recorded else None
        if last and done >= finished and isinstance(last.event, e.MeasurementStarted) and last.time < time.time() - 2:
            return last.event
        assert alive(), "the daemon has ended"
        time.sleep(0.5)
    raise TimeoutError(f"no measurement under way after {finished} finished ones within {limit:g} s")


def service_of(recorded: list[Recorded], measurement: e.MeasurementStarted) -> int:
    """The pid of the engine's main process that is being measured."""
    launched = [x for x in of_type(recorded, e.ServiceLaunched) if x.evaluation == measurement.evaluation]
    return int(launched[-1].pid)


def assert_tuned(
    recorded: list[Recorded], table: list[dict[str, str]], best: dict[str, Any], limit: float, shape: Shape
) -> None:
    """What the issue asks of a run in which the daemon and the engine were killed once each."""
    evaluations = {event.evaluation for event in of_type(recorded, e.ServiceLaunching)}
    measurements = of_type(recorded, e.MeasurementFinished)
    assert len(evaluations) >= shape.configurations - 1
    assert len(measurements) >= (shape.configurations - 2) * shape.repeats
    assert not any(event.simulated for event in measurements)

    (finished,) = of_type(recorded, e.RunFinished)
    assert finished.outcome == "completed"
    assert finished.feasible
    assert best["feasible"]
    assert best["metrics"]["tpot"]["mean"] <= limit
    assert best["deploy"]["argv"][1] == "serve"
    assert "--max-num-seqs" in best["deploy"]["argv"]

    proposed = of_type(recorded, e.ParticleProposed)
    matched = {event.particle for event in of_type(recorded, e.ParticleMatched)}
    assert [row["particle"] for row in table] == [str(p.particle) for p in proposed if p.particle not in matched]
    for row in table:
        assert row["real_evaluation"] == "true"
        assert row["source"] == "measured"
        assert row["error"] or (float(row["generate_speed"]) > 0 and row["repeats"] == str(shape.repeats))
        kept = not row["error"] and float(row["time_per_output_token"]) <= limit
        assert row["feasible"] == str(kept).lower()
    fastest = max((row for row in table if row["feasible"] == "true"), key=lambda row: float(row["generate_speed"]))
    assert fastest["particle"] == str(best["particle"])

    assert of_type(recorded, e.EvaluationInterrupted)
    repeated = [event for event in of_type(recorded, e.MeasurementStarted) if event.attempt > 1]
    assert repeated, "the measurement in flight was not run again"
    assert_sound(recorded)
