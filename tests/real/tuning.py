"""A real vLLM on the CPU, tuned: its configuration, its limits on this machine, and what must hold at the end."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serviceopt_journal import events as e
from serviceopt_journal.codec import Recorded
from stubs.scenario import assert_sound, free_port, of_type

CONFIGURATION = """
# 7 configurations, each measured twice.
n_particles = 4
iters = 2
budget = 7
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
repeats = 2
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
others = "--max-model-len 1024 --enforce-eager"

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
others = "--random-input-len 64 --random-output-len 32 --ignore-eos"
"""

PROMPTS = 48
QUIET = {
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
}
"""Environment of the submitter: no network, no statistics, one GiB of cache."""
APART = {**QUIET, "VLLM_CPU_OMP_THREADS_BIND": "0-1"}
"""The same with the model's threads on two processors; where there are more, server and client do not disturb them."""


@dataclass(frozen=True)
class Machine:
    """What the 88 M model does here, so that the limit binds on a fast machine and on a slow one."""

    tpot_alone: float  # seconds, one request at a time
    tpot_crowded: float  # seconds, 64 at a time

    @property
    def limit(self) -> float:
        """Between the two, so that neither every configuration nor none keeps it; other work may slow the machine."""
        return round(0.6 * self.tpot_crowded + 0.4 * self.tpot_alone, 4)


def configuration(real_engines: Path, *, tpot: float, port: int, seed: int = 5) -> str:
    return CONFIGURATION.format(
        seed=seed, tpot=tpot, program=real_engines / "vllm/bin/vllm", port=port, prompts=PROMPTS,
        model=real_engines / "model-88m",
    )  # fmt: skip


def measured_machine(real_engines: Path, directory: Path, quiet: Mapping[str, str] = QUIET) -> Machine:
    """Starts the service once, without serviceopt, and measures it alone and crowded."""
    port, model, program = free_port(), str(real_engines / "model-88m"), str(real_engines / "vllm/bin/vllm")
    environment = {**os.environ, **quiet}
    with (directory / "calibration-service.log").open("wb") as log:
        service = subprocess.Popen(
            [
                program, "serve", model, "--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(port),
                "--max-model-len", "1024", "--enforce-eager", "--max-num-seqs", "64",
                "--max-num-batched-tokens", "2048",
            ],
            env=environment, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        wait_until_healthy(port, service)
        times: dict[int, float] = {}
        for concurrency in (1, 64, 1, 64):  # the quicker of two: what else the machine did meanwhile is left out
            file = directory / f"calibration-{concurrency}.json"
            subprocess.run(
                [
                    program, "bench", "serve", "--host", "127.0.0.1", "--port", str(port), "--model", model,
                    "--served-model-name", "tiny", "--dataset-name", "random", "--num-prompts",
                    str(PROMPTS if concurrency > 1 else 16), "--max-concurrency", str(concurrency), "--save-result",
                    "--result-dir", str(directory), "--result-filename", file.name,
                    "--random-input-len", "64", "--random-output-len", "32", "--ignore-eos",
                ],
                env=environment, check=True, capture_output=True, timeout=1800,
            )  # fmt: skip
            took = json.loads(file.read_text())["mean_tpot_ms"] / 1000.0
            times[concurrency] = min(took, times.get(concurrency, took))
    finally:
        service.terminate()
        service.wait(timeout=60)
    return Machine(tpot_alone=times[1], tpot_crowded=times[64])


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


def assert_tuned(recorded: list[Recorded], table: list[dict[str, str]], best: dict[str, Any], limit: float) -> None:
    """What the issue asks of a run in which the daemon and the engine were killed once each."""
    evaluations = {event.evaluation for event in of_type(recorded, e.ServiceLaunching)}
    measurements = of_type(recorded, e.MeasurementFinished)
    assert len(evaluations) >= 6
    assert len(measurements) >= 10
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
        assert row["error"] or (float(row["generate_speed"]) > 0 and row["repeats"] == "2")
        kept = not row["error"] and float(row["time_per_output_token"]) <= limit
        assert row["feasible"] == str(kept).lower()
    fastest = max((row for row in table if row["feasible"] == "true"), key=lambda row: float(row["generate_speed"]))
    assert fastest["particle"] == str(best["particle"])

    assert of_type(recorded, e.EvaluationInterrupted)
    repeated = [event for event in of_type(recorded, e.MeasurementStarted) if event.attempt > 1]
    assert repeated, "the measurement in flight was not run again"
    assert_sound(recorded)
