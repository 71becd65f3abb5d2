"""What config.json and the model tell about the search space: current values, and an upper bound of the batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from serviceoptd.domain.settings import Field
from serviceoptd.engines.interface import Survey
from serviceoptd.engines.mindie.bounds import USUAL_BLOCK, Bound, Lengths, bound, cache_of, memory_of
from serviceoptd.engines.mindie.configuration import JsonText
from serviceoptd.engines.mindie.deployment import read_model, tensor_parallel, weights_path, world_size
from serviceoptd.engines.mindie.limits import BATCH, PREEMPTED, PREFILL_BATCH
from serviceoptd.engines.mindie.section import DEPLOYMENT, MODEL, SCHEDULE, MindieSection
from serviceoptd.toolkit.interface import Problem, Workplace
from serviceoptd.toolkit.program import located

KINDS: Mapping[str, tuple[type, ...]] = {"bool": (bool,), "str": (str,), "enum": (bool, int, float, str)}
NUMBERS = (int, float)


def current_values(fields: Sequence[Field], text: JsonText) -> tuple[Field, ...]:
    """The fields with the value of config.json where they have none of their own."""
    return tuple(_with_current(field, text) for field in fields)


def _with_current(field: Field, text: JsonText) -> Field:
    if field.value is not None or field.constant is not None or field.load or "." not in field.config_position:
        return field
    present = text.get(field.config_position)
    if field.config_position == PREFILL_BATCH and present == 0:
        present = text.get(BATCH)  # so the server reads a 0
    if type(present) not in KINDS.get(field.dtype, NUMBERS):
        return field
    if field.dtype == "enum" and present not in (field.dtype_param or ()):
        return field
    return replace(field, value=present)


def without_swapping(fields: Sequence[Field], text: JsonText) -> Survey:
    """The fields with `maxPreemptCount` fixed at 0 where no memory is there to swap requests to (`cpuMemSize` 0)."""
    field = next((each for each in fields if each.config_position == PREEMPTED), None)
    if field is None or text.get(f"{MODEL}.cpuMemSize") != 0 or not field.min <= 0 < field.max:
        return Survey(tuple(fields))
    fixed = replace(field, min=0.0, max=0.0)
    remark = _remark(field, "fixed at 0: cpuMemSize is 0 in config.json, so no request can be swapped out")
    return Survey(tuple(fixed if each is field else each for each in fields), (remark,))


def narrowed(
    fields: Sequence[Field], text: JsonText, options: MindieSection, workplace: Workplace, guidance: Mapping[str, Any]
) -> Survey:
    """The fields with the upper bound of `maxBatchSize` lowered to what the memory can hold.

    Never below the field's min or its current value, never above its max; switched off by `theory_guided_enable`.
    """
    unchanged = Survey(tuple(fields))
    field = next((each for each in fields if each.config_position == BATCH), None)
    if field is None or not guidance.get("theory_guided_enable", True):
        return unchanged
    if field.dtype not in ("int", "range") or field.constant is not None or field.min == field.max:
        return unchanged
    found = _bound(text, options, workplace, guidance)
    if isinstance(found, str):
        return Survey(tuple(fields), (_remark(field, f"no bound from theory: {found}"),))
    current = field.value if type(field.value) is int else 0
    most = max(found.requests, int(field.min), min(current, int(field.max)))
    if most >= field.max:
        message = f"max stays at {field.max:g}: the memory would allow {found.explanation}"
    else:
        message = f"max lowered from {field.max:g} to {most}: the memory allows {found.explanation}"
        if most > found.requests:
            message += f"; {most} is its {'current value' if most == current else 'min'}"
    lowered = replace(field, max=float(min(most, field.max)))
    return Survey(tuple(lowered if each is field else each for each in fields), (_remark(field, message),))


def _bound(text: JsonText, options: MindieSection, workplace: Workplace, guidance: Mapping[str, Any]) -> Bound | str:
    """The bound, or what is not known."""
    document = text.document
    path = weights_path(document)
    if not path:
        return f"{text.source} has no {MODEL}.modelWeightPath"
    model, weights = read_model(Path(located(path, workplace)))
    cache = cache_of(model, tensor_parallel(document))
    if cache is None:
        return f"{path}/config.json does not give the size of a token in the KV cache"
    mem_coefficient = float(guidance.get("mem_coefficient", 0.8))
    npu_mem_size = text.get(f"{MODEL}.npuMemSize")
    memory = memory_of(npu_mem_size, options.device_memory, weights, world_size(document), mem_coefficient)
    if memory is None:
        return "npuMemSize is not fixed in config.json; give [mindie] device_memory (GiB of one accelerator)"
    block_size = text.get(f"{SCHEDULE}.cacheBlockSize")
    return bound(
        cache,
        memory,
        block_size=block_size if type(block_size) is int and block_size > 0 else USUAL_BLOCK,
        usual=Lengths(options.average_input_tokens, options.average_output_tokens),
        longest=Lengths(text.get(f"{DEPLOYMENT}.maxInputTokenLen"), text.get(f"{SCHEDULE}.maxIterTimes")),
        scaling_coefficient=float(guidance.get("scaling_coefficient", 1.3)),
    )


def _remark(field: Field, message: str) -> Problem:
    return Problem(f"mindie.target_field {field.name}", message)
