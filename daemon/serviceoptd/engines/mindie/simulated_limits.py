"""What config.json tells of the simulated scheduler's limits. Pure but for the model's own config.json, which it reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serviceoptd.domain.settings import ModelFacts
from serviceoptd.engines.mindie.bounds import GIBIBYTE, USUAL_BLOCK, cache_of
from serviceoptd.engines.mindie.configuration import JsonText
from serviceoptd.engines.mindie.deployment import read_model, tensor_parallel, weights_path
from serviceoptd.engines.mindie.limits import BATCH, PREFILL_BATCH
from serviceoptd.engines.mindie.section import DEPLOYMENT, MODEL, SCHEDULE
from serviceoptd.toolkit.interface import Workplace, render
from serviceoptd.toolkit.program import located

WHOLE: Mapping[str, str] = {
    "max_batch_size": BATCH,
    "max_prefill_batch_size": PREFILL_BATCH,
    "max_prefill_tokens": f"{SCHEDULE}.maxPrefillTokens",
    "max_seq_len": f"{DEPLOYMENT}.maxSeqLen",
    "cache_block_size": f"{SCHEDULE}.cacheBlockSize",
    "max_iter_times": f"{SCHEDULE}.maxIterTimes",
    "max_preempt_count": f"{SCHEDULE}.maxPreemptCount",
    "max_queue_delay_microseconds": f"{SCHEDULE}.maxQueueDelayMicroseconds",
    "prefill_time_ms_per_req": f"{SCHEDULE}.prefillTimeMsPerReq",
    "decode_time_ms_per_req": f"{SCHEDULE}.decodeTimeMsPerReq",
}
"""The limits by the names of `MindieLimits`, and where they stand."""

SELECT = f"{SCHEDULE}.supportSelectBatch"
LONGEST_INPUT, TRUNCATED = f"{DEPLOYMENT}.maxInputTokenLen", f"{DEPLOYMENT}.truncation"


def limits_in(text: JsonText, workplace: Workplace) -> dict[str, int | bool]:
    """The limits that stand in the file; the numbers of blocks where it fixes the memory of the cache.

    With `npuMemSize` -1 MindIE takes what its device has left, which nobody knows before it has started.
    """
    found: dict[str, int | bool] = {
        name: value for name, place in WHOLE.items() if type(value := text.get(place)) is int and value >= 0
    }
    if found.get("max_prefill_batch_size") == 0 and "max_batch_size" in found:
        found["max_prefill_batch_size"] = found["max_batch_size"]  # so the server reads a 0
    if type(longest := text.get(LONGEST_INPUT)) is int and longest > 0 and text.get(TRUNCATED) is not True:
        found["max_input_token_len"] = longest
    if isinstance(selects := text.get(SELECT), bool):
        found["support_select_batch"] = selects
    return found | _blocks(text, int(found.get("cache_block_size") or USUAL_BLOCK), workplace)


def facts_of(limits: Mapping[str, int | bool]) -> ModelFacts:
    """What the rules and the advisor may know of these limits; of the model nothing is said."""
    return ModelFacts(arguments={name: render(value) for name, value in limits.items()})


def total_blocks(status: Any) -> int | None:
    """`totalNpuBlockNums` of an answer of /v1/status, of all instances of the model together; None: it has none."""
    resource = status.get("resource") if isinstance(status, Mapping) else None
    total = resource.get("totalNpuBlockNums") if isinstance(resource, Mapping) else None
    return total if type(total) is int and total > 0 else None


def _blocks(text: JsonText, size: int, workplace: Workplace) -> dict[str, int | bool]:
    document = text.document
    if not (path := weights_path(document)):
        return {}
    model, _ = read_model(Path(located(path, workplace)))
    if (cache := cache_of(model, tensor_parallel(document))) is None:
        return {}
    found: dict[str, int | bool] = {}
    # the last block is kept for the rounds of an idle instance (MindIE-LLM, connector/request_router/router_impl.py)
    for name, key, kept in (("npu_blocks", "npuMemSize", 1), ("cpu_blocks", "cpuMemSize", 0)):
        memory = text.get(f"{MODEL}.{key}")
        if isinstance(memory, int | float) and not isinstance(memory, bool) and memory > 0:
            found[name] = max(0, int(memory * GIBIBYTE) // (size * cache.bytes_per_token) - kept)
    return found
