"""How many requests can be in one decode batch at most: an upper bound from memory, before anything is measured. Pure.

The derivation with its sources is docs/mindie.md. In short, for one accelerator:

    cache memory  = npuMemSize, or device memory x mem_coefficient - weights / accelerators
    blocks        = floor(cache memory / (block size x bytes of one token in the cache))
    requests      = floor(blocks / blocks of one request)
    upper bound   = ceil(requests x scaling_coefficient)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

GIBIBYTE = 1024**3
BYTES = {"float32": 4, "float": 4, "float16": 2, "half": 2, "bfloat16": 2, "int8": 1, "float8_e4m3fn": 1}
USUAL_BLOCK = 128  # tokens; MindIE's default for cacheBlockSize


@dataclass(frozen=True)
class Cache:
    """What the model keeps of each token."""

    bytes_per_token: int  # on one accelerator
    explanation: str  # the numbers that it was made of


@dataclass(frozen=True)
class Memory:
    """What one accelerator has for the cache."""

    size: float  # bytes
    explanation: str


@dataclass(frozen=True)
class Lengths:
    """Tokens of a request; None: not known."""

    input: int | None
    output: int | None

    def blocks(self, size: int) -> int | None:
        """Cache blocks of one request; None where a length is not known. Input and output are rounded up each."""
        if type(self.input) is not int or type(self.output) is not int:
            return None
        return max(1, math.ceil(self.input / size) + math.ceil(self.output / size))


@dataclass(frozen=True)
class Bound:
    """The largest batch worth trying, and why."""

    requests: int  # scaled
    explanation: str


def cache_of(model: Mapping[str, Any], tensor_parallel: int) -> Cache | None:
    """The memory of a token in the KV cache, by the model's `config.json`; None: it does not say.

    A token has a key and a value for each layer and each of the accelerator's KV heads; with multi-head latent
    attention one compressed vector for each layer, on every accelerator (DeepSeek-V2, arXiv 2405.04434, section 2.1).
    """
    layers, width = _count(model, "num_hidden_layers"), _bytes_of_a_number(model)
    if layers is None or width is None:
        return None
    compressed, rotary = _count(model, "kv_lora_rank"), _count(model, "qk_rope_head_dim")
    if compressed is not None:
        numbers = compressed + (rotary or 0)
        return Cache(layers * numbers * width, f"{layers} layers x {numbers} numbers x {width} bytes")
    heads = _count(model, "num_attention_heads")
    kv_heads = _count(model, "num_key_value_heads") or heads
    size = _count(model, "head_dim")
    if size is None and heads and (hidden := _count(model, "hidden_size")):
        size = hidden // heads
    if not kv_heads or not size:
        return None
    own = math.ceil(kv_heads / tensor_parallel)  # fewer heads than accelerators: each has a copy of one
    return Cache(
        2 * layers * own * size * width,
        f"2 x {layers} layers x {own} of {kv_heads} KV heads x {size} numbers x {width} bytes",
    )


def memory_of(
    npu_mem_size: object, device_memory: float | None, weights: int, accelerators: int, mem_coefficient: float
) -> Memory | None:
    """The memory of the KV cache by `npuMemSize` (GiB), else by the device's memory (GiB) and the weights (bytes).

    `npuMemSize` is -1 where MindIE takes what is left.

    What activations and the runtime take is not subtracted: the bound is an upper one.
    """
    if isinstance(npu_mem_size, int | float) and not isinstance(npu_mem_size, bool) and npu_mem_size > 0:
        return Memory(npu_mem_size * GIBIBYTE, f"npuMemSize of {npu_mem_size:g} GiB")
    if device_memory is None or not weights:
        return None
    share = weights / accelerators
    size = device_memory * mem_coefficient * GIBIBYTE - share
    text = f"{device_memory:g} GiB x {mem_coefficient:g} - {share / GIBIBYTE:.1f} GiB of weights"
    return Memory(max(0.0, size), text)


def bound(
    cache: Cache, memory: Memory, *, block_size: int, usual: Lengths, longest: Lengths, scaling_coefficient: float
) -> Bound:
    """The largest batch of usual requests that the cache can hold, times `scaling_coefficient`.

    Where the usual lengths are not known a request counts as one block. So no setting that could be good is lost, and
    the bound is wide: how many requests of the longest kind would fit is told, and does not count.
    """
    blocks = math.floor(memory.size / (block_size * cache.bytes_per_token))
    needed = usual.blocks(block_size)
    fitting = blocks // (needed or 1)
    # a product such as 100 x 1.1 is 110.00000000000001
    requests = math.ceil(round(fitting * scaling_coefficient, 6))
    explanation = (
        f"{requests} requests: {memory.explanation} / ({block_size} tokens x {cache.explanation}) = {blocks} blocks, "
        f"{needed or 1} for a request, x {scaling_coefficient:g}"
    )
    if needed is None:
        explanation += "; average_input_tokens and average_output_tokens in [mindie] make it closer"
        if full := longest.blocks(block_size):
            explanation += f" ({blocks // full} of the longest requests fit)"
    return Bound(requests, explanation)


def _count(model: Mapping[str, Any], key: str) -> int | None:
    value = model.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _bytes_of_a_number(model: Mapping[str, Any]) -> int | None:
    quantised = model.get("quantization_config")
    if isinstance(quantised, Mapping) and quantised.get("kv_quant_type"):
        return 1  # C8: the cache is kept in int8
    return BYTES.get(str(model.get("torch_dtype") or model.get("dtype")).removeprefix("torch."))
