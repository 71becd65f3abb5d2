"""What the journal's benchmarks write: the events of real runs in their usual mixture, about 950 bytes each on average.

Also says on which machine the figures were taken.
"""

from __future__ import annotations

import hashlib
import platform
import sqlite3
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from serviceopt_journal.events import (
    EvaluationFinished,
    Event,
    MeasurementFinished,
    MeasurementStarted,
    ParticleProposed,
    ServiceFailed,
    ServiceLaunched,
    ServiceLaunching,
    ServiceReady,
    ServiceStopped,
)
from serviceopt_journal.metrics import Metrics

MODEL = "/srv/models/Qwen2.5-7B-Instruct"


def events() -> Iterator[Event]:
    """The events of a run that never ends, always the same."""
    for particle in count(1):
        yield from _evaluation(particle)


def plain_events() -> Iterator[Event]:
    """Events of the same size with a long text and few numbers, which cost the processor least."""
    for number in count(1):
        yield ServiceFailed(
            run=1,
            evaluation=number,
            attempt=1,
            kind="fatal",
            reason="RuntimeError: CUDA out of memory. " * 19,
        )


def _evaluation(number: int) -> Iterator[Event]:
    seqs, tokens, concurrency = 32 + number % 480, 8192 + 97 * number % 57344, 1 + number * 7 % 999
    directory = f"/var/lib/serviceoptd/runs/1/evaluations/{number}"
    noise = 1.0 + (number * 2654435761 % 1000) / 7919.0
    launch_id = hashlib.sha256(str(number).encode()).hexdigest()[:32]
    yield ParticleProposed(
        run=1,
        particle=number,
        slot=number % 10,
        iteration=number // 10,
        position=tuple(noise / step for step in (1.7, 2.3, 3.1, 4.9)),
        velocity=tuple(noise / step - 0.25 for step in (9.7, 8.3, 7.1, 6.9)),
        configuration={
            "MAX_NUM_BATCHED_TOKENS": tokens,
            "MAX_NUM_SEQS": seqs,
            "CONCURRENCY": concurrency,
            "REQUESTRATE": noise * 11.0,
        },
        strategy="swarm",
        origin="swarm",
    )
    yield ServiceLaunching(
        run=1,
        particle=number,
        evaluation=number,
        attempt=1,
        launch_id=launch_id,
        argv=(
            "/opt/vllm/bin/vllm", "serve", MODEL, "--served-model-name", "qwen", "--host", "127.0.0.1", "--port", "8000",
            "--max-num-batched-tokens", str(tokens), "--max-num-seqs", str(seqs), "--gpu-memory-utilization", "0.92",
            "--tensor-parallel-size", "4", "--enable-prefix-caching", "--max-model-len", "32768", "--disable-log-requests",
        ),
        working_directory="/home/operator/tuning/qwen2.5-7b",
        environment={
            "MAX_NUM_BATCHED_TOKENS": str(tokens),
            "MAX_NUM_SEQS": str(seqs),
            "CUDA_VISIBLE_DEVICES": "0,1,2,3",
            "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
            "HF_HUB_OFFLINE": "1",
        },
        cgroup=f"/sys/fs/cgroup/system.slice/serviceoptd.service/evaluation-1-{number}-1",
        log=f"{directory}/attempt-1/service.log",
        device_memory={f"gpu{device}": 498 * 1024 * 1024 for device in range(4)},
    )  # fmt: skip
    yield ServiceLaunched(run=1, evaluation=number, attempt=1, pid=4000 + number, process_started=1.75e9 + noise)
    yield ServiceReady(run=1, evaluation=number, attempt=1, waited=61.0 * noise, kv_blocks=27031)
    for measurement in (1, 2, 3):
        yield from _measurement(number, measurement, concurrency, noise, directory, launch_id)
    yield ServiceStopped(
        run=1,
        evaluation=number,
        attempt=1,
        exit_status=0,
        seconds=2.1 * noise,
        memory_waited=0.7 * noise,
        artefacts={"service.log": hashlib.sha256(directory.encode()).hexdigest()},
    )
    yield EvaluationFinished(run=1, evaluation=number, particles=(number,), seconds=611.0 * noise)


def _measurement(
    number: int, measurement: int, concurrency: int, noise: float, directory: str, launch_id: str
) -> Iterator[Event]:
    place = f"{directory}/measurements/{measurement}"
    yield MeasurementStarted(
        run=1,
        particle=number,
        evaluation=number,
        measurement=measurement,
        attempt=1,
        launch_id=launch_id,
        concurrency=concurrency * measurement,
        request_rate=noise * 11.0,
        num_prompts=1000,
        seed=number * 1000 + measurement,
        argv=(
            "/opt/vllm/bin/vllm", "bench", "serve", "--host", "127.0.0.1", "--port", "8000", "--model", MODEL,
            "--served-model-name", "qwen", "--dataset-name", "sharegpt", "--dataset-path", "/srv/data/ShareGPT_V3.json",
            "--num-prompts", "1000", "--max-concurrency", str(concurrency), "--request-rate", repr(noise * 11.0),
            "--percentile-metrics", "ttft,tpot,itl,e2el", "--metric-percentiles", "50,90,95,99", "--save-result",
            "--result-dir", place, "--result-filename", "result.json", "--seed", str(number * 1000 + measurement),
        ),
        cgroup=f"/sys/fs/cgroup/system.slice/serviceoptd.service/measurement-1-{number}-{measurement}-1",
        log=f"{place}/client.log",
        directory=place,
        warm_up=measurement > 1,
        cache_reset=True,
    )  # fmt: skip
    statistics = ("mean", "min", "max", "p50", "p90", "p95", "p99")
    yield MeasurementFinished(
        run=1,
        particle=number,
        evaluation=number,
        measurement=measurement,
        attempt=1,
        metrics=Metrics(
            generate_speed=5123.0 * noise,
            throughput=12.5 * noise,
            success_rate=1.0,
            completed=1000,
            failed=0,
            duration=88.0 * noise,
            ttft={name: noise / (index + 1.3) for index, name in enumerate(statistics)},
            tpot={name: noise / (index + 29.3) for index, name in enumerate(statistics)},
            e2el={name: noise * (index + 3.3) for index, name in enumerate(statistics)},
            itl={name: noise / (index + 31.7) for index, name in enumerate(statistics)},
            input_tokens=512_000,
            output_tokens=448_123,
        ),
        seconds=93.0 * noise,
        artefacts={
            name: hashlib.sha256(f"{place}/{name}".encode()).hexdigest() for name in ("result.json", "client.log")
        },
    )


def machine() -> dict[str, str | int]:
    """Processor, cores, kernel, Python and SQLite: figures mean nothing without."""
    processor = next(
        (line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")), platform.machine()
    )
    return {
        "processor": processor,
        "cores": sum(line.startswith("processor") for line in _cpuinfo()),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
    }


def _cpuinfo() -> list[str]:
    return Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
