"""Models that need less memory than their files seem to say: nothing of the space is rejected, or it is once refuted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from serviceopt_journal import events as e
from stubs.scenario import assert_sound, of_type, standalone, stub_run

SMALL_LLAMA = {
    "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 8, "num_key_value_heads": 1,
    "head_dim": 8, "vocab_size": 1000, "max_position_embeddings": 131072, "torch_dtype": "bfloat16",
}  # fmt: skip
IN_EIGHT_BITS, IN_SIXTEEN_BITS = 1_000_000, 2_000_000
"""Bytes of its weights. 32768 tokens are 1,048,576 bytes in the KV cache, or half of it with eight bits."""
LIMITS = "--gpu-memory-utilization 0.95 --max-model-len 32768"
DEVICE = "[device]\nmemory_gb = 0.0018"
"""1,836,000 bytes for the engine: enough with eight bits for weights and cache alike."""
SHARD = "model-00001-of-00001.safetensors"


def a_run(directory: Path, weights: int, others: str, files: dict[str, Any]) -> Path:
    """Of three configurations."""
    configuration = stub_run(
        directory, n_particles=3, iters=1, searched=["MAX_NUM_SEQS", "CONCURRENCY"], service=others
    )
    index = {"metadata": {"total_size": weights}, "weight_map": {"lm_head.weight": SHARD}}
    for name, content in {"config.json": SMALL_LLAMA, "model.safetensors.index.json": index, **files}.items():
        (directory / "model" / name).write_text(json.dumps(content))
    (directory / "model" / SHARD).write_bytes(b"w" * weights)
    configuration.write_text(f"{configuration.read_text()}\n{DEVICE}\n")
    return configuration


QUANTISED = {"quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}}


@pytest.mark.parametrize(
    ("weights", "others", "files"),
    [
        (IN_EIGHT_BITS, LIMITS, {"hf_quant_config.json": QUANTISED}),
        (IN_EIGHT_BITS, f"{LIMITS} --kv-cache-dtype fp8_e5m2", {}),
        (IN_SIXTEEN_BITS, f"{LIMITS} --kv-cache-dtype fp8 --quantization fp8", {}),
        (IN_SIXTEEN_BITS, f"{LIMITS} --kv-cache-dtype fp8 -q bitsandbytes", {}),
        (IN_SIXTEEN_BITS, f"{LIMITS} --cpu-offload-gb 90", {}),
        (IN_SIXTEEN_BITS, f"{LIMITS} --hf-overrides.head_dim 1", {}),
    ],
    ids=[
        "cache-of-the-checkpoint",
        "cache-of-the-command-line",
        "quantised-on-the-fly",
        "quantised-by-a-short-flag",
        "offloaded",
        "dotted-override",
    ],
)
def test_a_model_that_is_smaller_in_the_device_is_not_rejected(
    tmp_path: Path, weights: int, others: str, files: dict[str, Any]
) -> None:
    ended, recorded, rows = standalone(a_run(tmp_path, weights, others, files))

    assert ended.returncode == 0, ended.stderr
    assert len(rows) == 3
    assert of_type(recorded, e.ParticleRejected, e.RuleRefuted) == []
    assert [row["error"] for row in rows] == ["", "", ""]


@pytest.mark.parametrize("weights", [IN_EIGHT_BITS, IN_SIXTEEN_BITS])
def test_a_service_that_starts_all_the_same_refutes_the_rule_for_the_rest_of_the_run(
    tmp_path: Path, weights: int
) -> None:
    ended, recorded, rows = standalone(a_run(tmp_path, weights, LIMITS, {}))

    assert ended.returncode == 0, ended.stderr
    (refuted,) = of_type(recorded, e.RuleRefuted)
    assert (refuted.rule, refuted.particle) == ("memory", 1)
    assert "memory" in ended.stdout
    assert of_type(recorded, e.ParticleRejected) == []
    assert [row["real_evaluation"] for row in rows] == ["true"] * 3
    assert_sound(recorded)
