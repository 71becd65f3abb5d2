"""Sections of engines and clients that come with a later release. Their tables are checked today; they cannot run yet.

A plugin that registers one of these names takes its place.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from .schema import Table


class Mindie(Table):
    """`[mindie]`"""

    config_path: str | None = None
    config_bak_path: str | None = None
    process_name: str | None = None


class AisBenchCommand(Table):
    """`[ais_bench.command]`"""

    models: str = "models"
    datasets: str = "datasets"
    mode: str = "perf"
    num_prompts: int = Field(default=3000, ge=1)
    work_dir: str | None = None


class AisBench(Table):
    """`[ais_bench]`"""

    command: AisBenchCommand = AisBenchCommand()


def _schedule(name: str, key: str, bounds: tuple[float, float], dtype: str, parameter: Any = None) -> dict[str, Any]:
    position = f"BackendConfig.ScheduleConfig.{key}"
    field = {"name": name, "config_position": position, "min": bounds[0], "max": bounds[1], "dtype": dtype}
    return field if parameter is None else {**field, "dtype_param": parameter}


MINDIE_FIELDS: list[dict[str, Any]] = [
    _schedule("max_batch_size", "maxBatchSize", (10, 1000), "int"),
    _schedule("max_prefill_batch_size", "maxPrefillBatchSize", (0.1, 0.7), "ratio", "max_batch_size"),
    _schedule("prefill_time_ms_per_req", "prefillTimeMsPerReq", (0, 1000), "range", 10),
    _schedule("decode_time_ms_per_req", "decodeTimeMsPerReq", (0, 1000), "range", 10),
    _schedule("support_select_batch", "supportSelectBatch", (0, 1), "bool"),
    _schedule("max_queue_delay_microseconds", "maxQueueDelayMicroseconds", (500, 1_000_000), "range", 100),
    _schedule("max_preempt_count", "maxPreemptCount", (0, 1), "ratio", "max_batch_size"),
    {"name": "CONCURRENCY", "config_position": "env", "min": 1, "max": 1001, "dtype": "int", "value": 100},
    {"name": "REQUESTRATE", "config_position": "env", "min": 1, "max": 1001, "dtype": "float", "value": 100},
]


class PlannedEngine:
    """MindIE."""

    name = "mindie"
    section = Mindie
    defaults: dict[str, Any] = {"target_field": MINDIE_FIELDS}  # noqa: RUF012  the interface's own shape


class PlannedBenchmark:
    """AISBench."""

    name = "ais_bench"
    section = AisBench
    defaults: dict[str, Any] = {}  # noqa: RUF012  the interface's own shape


PLANNED_ENGINES: dict[str, type[Any]] = {"mindie": PlannedEngine}
PLANNED_BENCHMARKS: dict[str, type[Any]] = {"ais_bench": PlannedBenchmark}
