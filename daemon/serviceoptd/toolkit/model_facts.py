"""What a model directory tells of the memory, the bandwidth and the operations that serving it needs at least.

Only for models whose every layer is a plain transformer layer with full attention (`PLAIN`): others may keep less of a
token, leave weights out or skip some, so nothing is said of them. Formulas and sources: docs/rejection.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from serviceopt_journal.foreign_files import LARGEST_CONFIGURATION, UnfitFile, content
from serviceopt_journal.foreign_text import json_value
from serviceoptd.domain.settings import ModelFacts

PLAIN = frozenset(
    {"llama", "mistral", "mixtral", "qwen2", "qwen3", "qwen2_moe", "qwen3_moe", "deepseek_v2", "deepseek_v3", "phi3"}
    | {"internlm2", "internlm3", "glm4", "gpt_neox"}
)
"""`model_type` of the models that are understood."""

LENGTHS = (
    "max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "model_max_length", "max_sequence_length",
)  # fmt: skip
"""Keys from which engines derive the longest sequence; the smallest of them is a lower bound of what they derive."""

SINGLE, HALF = 4.0, 2.0
FASTEST_NUMBERS = 4.0
"""How many times as fast as FP16 a device computes with the narrowest numbers (4 bits)."""


def model_facts(
    directory: Path, arguments: Mapping[str, str], *, needs_a_whole_sequence: bool, quantised_here: bool = False
) -> ModelFacts:
    """What is known of the model in this directory; of one that cannot be read only the arguments.

    Args:
        directory: with `config.json` and the weights as safetensors.
        arguments: the engine's fixed options.
        needs_a_whole_sequence: whether the engine refuses to start where the longest sequence does not fit.
        quantised_here: the engine makes the weights smaller when it reads them.
    """
    facts = ModelFacts(arguments=dict(arguments), needs_a_whole_sequence=needs_a_whole_sequence)
    model = _json(directory / "config.json")
    if model.get("model_type") not in PLAIN:
        return facts
    quantising = _quantising(directory, model)
    numbers, heads = _cache(model)
    known = {
        # how a checkpoint packs its cache differs by engine and version: nothing is said then
        "cache_numbers": None if _packs_its_cache(quantising) else numbers,
        "cache_heads": heads,
        "cache_bytes": HALF,
        "longest": _longest(model, _json(directory / "tokenizer_config.json")),
        "experts": _share_of_experts(model) < 1.0,
    }
    size = _weights(directory)
    vocabulary, hidden = _count(model, "vocab_size"), _count(model, "hidden_size")
    if size and vocabulary and hidden and not quantised_here:
        known |= _weighed(model, size, vocabulary * hidden, quantised=bool(quantising))
    return replace(facts, **known)


def _weighed(model: Mapping[str, Any], size: int, table: int, *, quantised: bool) -> dict[str, float]:
    """From the bytes of the weights and the numbers of one embedding table."""
    stored = HALF if quantised or "16" in str(model.get("torch_dtype") or model.get("dtype")) else SINGLE
    layers = _count(model, "num_hidden_layers") or 1
    # layers that only predict further tokens, which have embeddings of their own, are left out by most engines
    used = layers / (layers + 2 * (_count(model, "num_nextn_predict_layers") or 0))
    share = _share_of_experts(model)
    # engines compute with half precision whatever is stored; a quantised model is loaded as it is stored
    weights = size * used * (1.0 if quantised else HALF / stored)
    # the embeddings of the prompt are looked up, and the head is needed for its last token only
    multiplied = max(0.0, size * used / stored - 2 * table)
    return {
        "weights": weights,
        "read_each_step": max(0.0, weights - HALF * table) * share,
        "flops_each_token": 2.0 * multiplied * share / (FASTEST_NUMBERS if quantised else 1.0),
    }


def _cache(model: Mapping[str, Any]) -> tuple[int | None, int]:
    """Numbers that are kept of a token for each KV head over all layers, and the KV heads.

    With multi-head latent attention one compressed vector, as if there were one head (DeepSeek-V2, arXiv 2405.04434,
    section 2.1).
    """
    layers, heads = _count(model, "num_hidden_layers"), _count(model, "num_attention_heads")
    windowed = model.get("sliding_window") and model.get("use_sliding_window") is not False
    mixed = set(model.get("layer_types") or ()) - {"full_attention"}
    if not layers or not heads or windowed or mixed:
        return None, 1
    if compressed := _count(model, "kv_lora_rank"):
        return layers * (compressed + (_count(model, "qk_rope_head_dim") or 0)), 1
    size = _count(model, "head_dim") or (_count(model, "hidden_size") or 0) // heads
    kv_heads = _count(model, "num_key_value_heads") or _count(model, "multi_query_group_num") or heads
    return (2 * layers * size if size else None), kv_heads


def _share_of_experts(model: Mapping[str, Any]) -> float:
    """The share of the experts that a token goes through; 1 where there are none."""
    keys = ("num_experts", "num_local_experts", "n_routed_experts")
    there = next((count for key in keys if (count := _count(model, key))), None)
    used = _count(model, "num_experts_per_tok")
    return 1.0 if there is None or used is None else min(1.0, used / there)


def _quantising(directory: Path, model: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What the checkpoint says of its quantisation: in its configuration, or in a file of the tool that quantised it.

    Such as hf_quant_config.json (ModelOpt), quantize_config.json (GPTQ) and quant_model_description.json (msmodelslim).
    """
    told = [model.get("quantization_config"), model.get("compression_config")]
    told += [_json(path) for path in sorted(directory.glob("*quant*.json"))]
    return [each for each in told if isinstance(each, Mapping) and each]


def _packs_its_cache(told: object) -> bool:
    """Whether a key that names the KV cache has a value, anywhere in what the checkpoint says of its quantisation."""
    if isinstance(told, list):
        return any(map(_packs_its_cache, told))
    if not isinstance(told, Mapping):
        return False
    named = any("kv" in str(key).casefold() and value not in (None, False, "", {}) for key, value in told.items())
    return named or any(map(_packs_its_cache, told.values()))


def _longest(model: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> int | None:
    scaling = model.get("rope_scaling") or model.get("rope_parameters") or {}
    scaled = scaling.get("original_max_position_embeddings") if isinstance(scaling, Mapping) else None
    found = [count for key in LENGTHS if (count := _count(model, key))]
    found += [value for value in (scaled, tokenizer.get("model_max_length")) if isinstance(value, int) and value > 0]
    return min(found, default=None)


def _weights(directory: Path) -> int | None:
    """Bytes of the weights that an engine loads; None: they cannot be told from others in the directory.

    The files that the index names count where they are smaller than it says: the total of an index often survives a
    conversion that made the weights smaller. With one of them missing nothing is known.
    """
    index = _json(directory / "model.safetensors.index.json")
    total, placed = index.get("metadata"), index.get("weight_map")
    files = set(placed.values()) if isinstance(placed, Mapping) else set()
    try:
        found = sum((directory / str(name)).stat().st_size for name in files or ("model.safetensors",))
    except OSError:
        found = None
    size = total.get("total_size") if isinstance(total, Mapping) else None
    if not isinstance(size, int):
        return found
    return found if files and found is None else min(size, found or size)


def _json(path: Path) -> Mapping[str, Any]:
    try:
        document = json_value(content(path, LARGEST_CONFIGURATION, through_links=True))
    except (OSError, UnfitFile, ValueError):
        return {}  # a model on a hub, or in a format of its own: nothing is known of it
    return document if isinstance(document, dict) else {}


def _count(model: Mapping[str, Any], key: str) -> int | None:
    value = model.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
