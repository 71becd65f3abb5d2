"""vLLM in tests: its engine, its client, and a real result of `vllm bench serve` 0.32.0 with others made from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from serviceopt_journal.events import Configuration
from serviceopt_journal.metrics import Metrics
from serviceoptd.benchmarks.interface import MeasurementOrder
from serviceoptd.benchmarks.vllm_benchmark.client import RESULT, VllmBenchmark
from serviceoptd.contract.orders import VLLM_CONFIGURATION, a_measurement_order, a_workplace, an_outcome, written
from serviceoptd.engines.vllm import VllmEngine

SERVED: dict[str, Any] = {"host": "127.0.0.1", "port": 8000, "model": "org/model", "served_model_name": "m"}
MEASURED: dict[str, Any] = {**SERVED, "dataset_name": "random", "num_prompts": 50}


def an_engine(others: str = "", **section: Any) -> VllmEngine:
    """The engine with these keys of `[vllm]`; `command` is laid over SERVED."""
    command = SERVED | {"others": others} | section.pop("command", {})
    return VllmEngine(VllmEngine.section.model_validate({"command": command, **section}).model_dump(mode="json"))


def a_client(others: str = "", **command: Any) -> VllmBenchmark:
    """The client with these keys of `[vllm_benchmark.command]` laid over MEASURED."""
    section = VllmBenchmark.section.model_validate({"command": MEASURED | {"others": others} | command})
    return VllmBenchmark(section.model_dump(mode="json"))


AT_16: Configuration = VLLM_CONFIGURATION | {"CONCURRENCY": 16}
"""The load of REAL."""


def an_order(tmp_path: Path, **more: Any) -> MeasurementOrder:
    """To measure at AT_16, or at `configuration`."""
    return a_measurement_order(a_workplace(tmp_path), more.pop("configuration", AT_16), **more)


def read(
    tmp_path: Path, document: object, *, at: float = 1010.0, client: VllmBenchmark | None = None, **more: Any
) -> Metrics:
    """What the client reads when this document (or text) is its result, written at that time."""
    reader = client or a_client()
    outcome = an_outcome(reader, an_order(tmp_path, **more))
    text = document if isinstance(document, str) else json.dumps(document)
    written(outcome.order.workplace.directory / RESULT, text, at)
    return reader.read(outcome)


REAL: dict[str, Any] = {
    "date": "20261122-134948",
    "endpoint_type": "vllm",
    "backend": "vllm",
    "label": None,
    "model_id": "org/model",
    "tokenizer_id": "org/model",
    "num_prompts": 50,
    "request_rate": "inf",
    "burstiness": 1.0,
    "max_concurrency": 16,
    "serviceopt_seed": "7",
    "duration": 1.7759787979999828,
    "completed": 50,
    "failed": 0,
    "total_input_tokens": 3206,
    "total_output_tokens": 1600,
    "request_throughput": 28.153489251283553,
    "request_goodput": None,
    "output_throughput": 900.9116560410737,
    "total_token_throughput": 2706.113386833375,
    "max_output_tokens_per_s": 1024.0,
    "max_concurrent_requests": 48,
    "rtfx": 0.0,
    "mean_ttft_ms": 411.45919436000213,
    "median_ttft_ms": 249.258784999995,
    "std_ttft_ms": 313.0254879717793,
    "p50_ttft_ms": 249.258784999995,
    "p90_ttft_ms": 869.4624735000048,
    "p95_ttft_ms": 869.4900710000468,
    "p99_ttft_ms": 906.9241878999263,
    "mean_tpot_ms": 2.8081825193548715,
    "median_tpot_ms": 3.6620178225825106,
    "std_tpot_ms": 1.9843721686599158,
    "p50_tpot_ms": 3.6620178225825106,
    "p90_tpot_ms": 4.521591648385986,
    "p95_tpot_ms": 4.5628428048396765,
    "p99_tpot_ms": 5.622314760000677,
    "mean_itl_ms": 2.808182519354872,
    "median_itl_ms": 0.0029604999554067035,
    "p99_itl_ms": 70.26138512998614,
    "mean_e2el_ms": 498.51285246000316,
    "median_e2el_ms": 288.8947945000382,
    "p99_e2el_ms": 1003.8164236799856,
}

SOME_FAILED = REAL | {"completed": 30, "failed": 20, "output_throughput": 610.33, "request_throughput": 19.07}

ALL_FAILED = REAL | {
    "completed": 0,
    "failed": 50,
    "total_input_tokens": 0,
    "total_output_tokens": 0,
    "request_throughput": 0.0,
    "output_throughput": 0.0,
    **{key: 0.0 for key in REAL if key.endswith("_ms")},
}
"""What the real client writes, and exits 0."""
