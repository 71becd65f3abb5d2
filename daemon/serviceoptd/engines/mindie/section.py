"""`[mindie]`: its keys, and the search space of a file that gives none."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from serviceoptd.toolkit.interface import ProcessOptions
from serviceoptd.toolkit.provenance import ASCEND

SCHEDULE = "BackendConfig.ScheduleConfig"
DEPLOYMENT = "BackendConfig.ModelDeployConfig"
MODEL = f"{DEPLOYMENT}.ModelConfig.0"

VARIABLES = (
    "MINDIE_*", "MIES_*", "ASDOPS_*", *ASCEND,
    "BIND_CPU", "CPU_BINDING_NUM", "RESERVED_MEMORY_GB", "DP_*_ENABLE", "DYNAMIC_*", "PREFILL_*", "LONG_*", "DEEPSEEK_*",
    "LM_HEAD_*", "POST_PROCESSING_*", "PERFORMANCE_*", "IS_ALIBI_*", "INF_NAN_*", "TOKENIZER_*", "TOKENIZERS_*",
    "REMOVE_GENERATION_CONFIG_DICT", "LAYERWISE_*", "WORLD_SIZE",
)  # fmt: skip
"""Environment variables on which MindIE's results depend: those that the sources of MindIE-LLM read, by their beginnings."""

Tokens = Annotated[int, Field(ge=1, le=4_194_304)]


class MindieSection(ProcessOptions):
    """The table `[mindie]` of a configuration."""

    config_path: str | None = None  # None: $MIES_CONFIG_JSON_PATH, else conf/config.json of the installation
    config_bak_path: str | None = None  # the predecessor's: the original is kept beside the journal instead
    process_name: str | None = None  # the predecessor's: nothing is ever ended by its name
    health_path: str = "/v2/health/ready"  # answers 200 when it is ready; "": the log line alone tells
    device_memory: Annotated[float, Field(gt=0, le=4096)] | None = None  # GiB of one accelerator, for the bounds
    average_input_tokens: Tokens | None = None  # of the requests that it is measured with, for the bounds
    average_output_tokens: Tokens | None = None


def _field(name: str, key: str, bounds: tuple[float, float], dtype: str, parameter: Any = None) -> dict[str, Any]:
    field = {"name": name, "config_position": f"{SCHEDULE}.{key}", "min": bounds[0], "max": bounds[1], "dtype": dtype}
    return field if parameter is None else {**field, "dtype_param": parameter}


DEFAULT_SPACE: list[dict[str, Any]] = [
    _field("max_batch_size", "maxBatchSize", (10, 1000), "int"),
    _field("max_prefill_batch_size", "maxPrefillBatchSize", (0.1, 0.7), "ratio", "max_batch_size"),
    _field("prefill_time_ms_per_req", "prefillTimeMsPerReq", (0, 1000), "range", 10),
    _field("decode_time_ms_per_req", "decodeTimeMsPerReq", (0, 1000), "range", 10),
    _field("support_select_batch", "supportSelectBatch", (0, 1), "bool"),
    # so spelt in the predecessor, whose users' tables and CSV files have this name
    _field("max_queue_deloy_mircroseconds", "maxQueueDelayMicroseconds", (500, 1_000_000), "range", 100),
    _field("max_preempt_count", "maxPreemptCount", (0, 1), "ratio", "max_batch_size"),
    {"name": "CONCURRENCY", "config_position": "env", "min": 1, "max": 1001, "dtype": "int", "value": 100},
    {"name": "REQUESTRATE", "config_position": "env", "min": 1, "max": 1001, "dtype": "float", "value": 100},
]
