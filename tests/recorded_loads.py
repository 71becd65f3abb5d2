"""Profiles as `serviceoptctl profile` leaves them, of a machine whose times and overheads are known."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from linear_step_times import LinearStepTimes
from serviceoptd.profiling.data.recorded_load import DESCRIPTION
from serviceoptd.profiling.data.recorded_steps import COLUMNS
from serviceoptd.simulation.schedulers.vllm import VllmScheduler
from serviceoptd.simulation.schedulers.vllm_limits import VllmLimits
from serviceoptd.simulation.virtual_benchmark import Recorder
from serviceoptd.simulation.virtual_clock.arrivals import arrivals
from serviceoptd.simulation.virtual_clock.client_metrics import client_metrics
from serviceoptd.simulation.virtual_clock.lengths import RandomLengths, random_requests
from serviceoptd.simulation.virtual_clock.overheads import Overheads
from serviceoptd.simulation.virtual_clock.timeline import simulate

TRUE_TIMES = LinearStepTimes(step=0.01, prefill_token=4e-5, decode_sequence=1e-4, decode_context=1e-7)
TRUE_OVERHEADS = Overheads(delay=0.02, work_per_request=0.002, work_per_token=3e-5)
CONFIGURATIONS = ((8, 256), (32, 1024), (16, 512))
LOADS: tuple[tuple[int | None, float | None], ...] = ((4, None), (40, None), (None, 12.0))


def write_profile(directory: Path, *, requests: int = 60) -> Path:
    """Three configurations, three loads each."""
    for place, (most, budget) in enumerate(CONFIGURATIONS):
        limits = VllmLimits(
            max_num_seqs=most, max_num_batched_tokens=budget, max_model_len=1024, kv_blocks=2000, block_size=16
        )
        folder = directory / f"configuration-{place + 1}"
        folder.mkdir(parents=True)
        (folder / DESCRIPTION).write_text(json.dumps({"vllm": "0.32.0", "limits": asdict(limits)}))
        for number, (concurrency, rate) in enumerate(LOADS, 1):
            write_load(folder / f"load-{number}", limits, requests, concurrency, rate, seed=10 * place + number)
    return directory


def write_load(
    target: Path, limits: VllmLimits, number: int, concurrency: int | None, rate: float | None, *, seed: int
) -> None:
    """FILE.csv and FILE.json of one benchmark."""
    lengths = RandomLengths(input_tokens=200, output_tokens=20, range_ratio=0.5)
    requests = random_requests(arrivals(number, request_rate=rate, seed=seed), lengths, seed)
    recorder = Recorder(TRUE_TIMES)
    timeline = simulate(
        requests, VllmScheduler(requests, limits), recorder, overheads=TRUE_OVERHEADS, concurrency=concurrency
    )
    metrics = client_metrics(requests, timeline)
    document: dict[str, Any] = {
        "num_prompts": number, "completed": number, "failed": 0, "duration": metrics.duration,
        "output_throughput": metrics.generate_speed, "request_throughput": metrics.throughput,
        "max_concurrency": concurrency, "request_rate": rate or "inf",
        "start_times": [1000.0 + sent for sent in timeline.sent],
        "queue_times": [sent - request.arrival for sent, request in zip(timeline.sent, requests, strict=True)],
        "input_lens": [request.prompt_tokens for request in requests],
        "output_lens": [request.output_tokens for request in requests],
        "ttfts": [first - sent for first, sent in zip(timeline.first_token, timeline.sent, strict=True)],
        "itls": [[last - first] for last, first in zip(timeline.last_token, timeline.first_token, strict=True)],
    }  # fmt: skip
    for name, latency in (("ttft", metrics.ttft), ("tpot", metrics.tpot)):
        document |= {
            f"{statistic}_{name}_ms": 1000 * value for statistic, value in latency.items() if statistic != "min"
        }
    target.with_suffix(".json").write_text(json.dumps(document))
    with target.with_suffix(".csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for step, seconds in zip(recorder.steps, recorder.seconds, strict=True):
            prefilling, tokens, attention, decoding, context = step
            milliseconds = 1000 * seconds
            row = (prefilling, tokens, attention, decoding, context, prefilling + decoding, 0, 0, milliseconds, 0)
            writer.writerow((*row, milliseconds))
