from __future__ import annotations

import json
from pathlib import Path

import pytest

from daemon.rules.machines import Llama
from serviceoptd.contract.orders import a_workplace
from serviceoptd.domain.settings import ModelFacts
from serviceoptd.engines.interface import Engine
from serviceoptd.engines.sglang import SglangEngine
from serviceoptd.engines.vllm import VllmEngine
from serviceoptd.engines.vllm_flags import SPELLINGS
from serviceoptd.toolkit.arguments import options
from serviceoptd.toolkit.model_facts import model_facts

LLAMA = Llama()


def test_a_dense_model_tells_what_it_weighs_reads_computes_and_keeps(tmp_path: Path) -> None:
    facts = LLAMA.facts(tmp_path)
    assert facts.weights == 2 * LLAMA.parameters
    assert facts.read_each_step == 2 * (LLAMA.parameters - LLAMA.table)
    assert facts.flops_each_token == 2 * (LLAMA.parameters - 2 * LLAMA.table)
    assert (facts.cache_numbers, facts.cache_heads, facts.cache_bytes) == (2 * 80 * 128, 8, 2.0)
    assert (facts.longest, facts.experts) == (131072, False)


def test_of_a_mixture_of_experts_a_token_needs_a_share(tmp_path: Path) -> None:
    dense = LLAMA.facts(tmp_path / "dense")
    mixture = LLAMA.facts(tmp_path / "mixture", model_type="mixtral", num_local_experts=8, num_experts_per_tok=2)
    assert mixture.experts
    assert mixture.weights == dense.weights
    assert dense.read_each_step is not None
    assert mixture.read_each_step == dense.read_each_step / 4


def test_compressed_attention_keeps_one_vector_of_each_layer(tmp_path: Path) -> None:
    facts = LLAMA.facts(tmp_path, model_type="deepseek_v3", kv_lora_rank=512, qk_rope_head_dim=64)
    assert (facts.cache_numbers, facts.cache_heads) == (80 * 576, 1)


def test_weights_in_single_precision_are_served_in_half(tmp_path: Path) -> None:
    assert LLAMA.facts(tmp_path, torch_dtype="float32").weights == LLAMA.parameters
    assert LLAMA.facts(tmp_path, torch_dtype=None).weights == LLAMA.parameters


def test_quantised_weights_stay_as_they_are_and_are_computed_faster(tmp_path: Path) -> None:
    facts = LLAMA.facts(tmp_path, quantization_config={"quant_method": "fp8", "kv_cache_scheme": None})
    plain = LLAMA.facts(tmp_path / "plain")
    assert facts.weights == plain.weights
    assert plain.flops_each_token is not None
    assert facts.flops_each_token == plain.flops_each_token / 4
    assert facts.cache_numbers == plain.cache_numbers


@pytest.mark.parametrize(
    ("file", "said", "packed"),
    [
        ("config.json", {"quantization_config": {"kv_cache_scheme": {"num_bits": 8}}}, True),
        ("config.json", {"quantization_config": {"config_groups": {"a": {"kv_cache_dtype": "fp8"}}}}, True),
        ("hf_quant_config.json", {"quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}}, True),
        ("hf_quant_config.json", {"quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": None}}, False),
        ("quant_model_description.json", {"kv_quant_type": "C8"}, True),
        ("quantize_config.json", {"bits": 4, "group_size": 128}, False),
    ],
)
def test_a_checkpoint_that_packs_its_cache_tells_nothing_of_it(
    file: str, said: dict[str, object], packed: bool, tmp_path: Path
) -> None:
    LLAMA.written(tmp_path)
    known = json.loads((tmp_path / file).read_text()) if (tmp_path / file).exists() else {}
    (tmp_path / file).write_text(json.dumps(known | said))
    facts = model_facts(tmp_path, {}, needs_a_whole_sequence=True)
    assert (facts.cache_numbers is None) is packed
    assert facts.weights == 2 * LLAMA.parameters


@pytest.mark.parametrize(
    ("total", "sizes", "known"),
    [
        (72_600, {"a": 1000, "b": 2000}, 3000),  # left over from before it was quantised
        (2900, {"a": 1000, "b": 2000}, 2900),
        (None, {"a": 1000, "b": 2000}, 3000),
        (3000, {"a": 1000}, None),  # one is not there
    ],
)
def test_the_files_count_where_the_index_says_more(
    total: int | None, sizes: dict[str, int], known: int | None, tmp_path: Path
) -> None:
    index = {"metadata": {"total_size": total} if total else {}, "weight_map": {"x": "a", "y": "b", "z": "a"}}
    LLAMA.written(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    for name, size in sizes.items():
        (tmp_path / name).write_bytes(bytes(size))
    assert model_facts(tmp_path, {}, needs_a_whole_sequence=True).weights == known


@pytest.mark.parametrize("more", [{"sliding_window": 4096}, {"layer_types": ["full_attention", "sliding_attention"]}])
def test_layers_that_forget_say_nothing_of_the_cache(more: dict[str, object], tmp_path: Path) -> None:
    facts = LLAMA.facts(tmp_path, **more)
    assert facts.cache_numbers is None
    assert facts.weights == 2 * LLAMA.parameters


def test_the_smallest_length_counts_that_an_engine_may_take(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 4096}))
    assert LLAMA.facts(tmp_path).longest == 4096


@pytest.mark.parametrize("text", [None, "no json", "[]", '{"model_type": "mamba"}'])
def test_a_model_that_is_not_understood_tells_only_the_options(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    facts = model_facts(tmp_path, {"seed": "1"}, needs_a_whole_sequence=True)
    assert facts == ModelFacts(arguments={"seed": "1"}, needs_a_whole_sequence=True)


def test_options_have_one_spelling() -> None:
    words = ["-tp", "2", "--no-enable-chunked-prefill", "--max_model_len=4096", "--enforce-eager", "--seed", "1"]
    assert options(words, SPELLINGS) == {
        "tensor_parallel_size": "2",
        "enable_chunked_prefill": "false",
        "max_model_len": "4096",
        "enforce_eager": "true",
        "seed": "1",
    }


@pytest.mark.parametrize(
    ("engine", "others", "whole", "knows"),
    [
        (VllmEngine, "-tp 4", True, True),
        (VllmEngine, "-tp 4 --cpu-offload-gb 10", False, False),
        (VllmEngine, "-tp 4 --hf-overrides '{}'", False, False),
        (VllmEngine, "-tp 4 --hf-overrides.num_hidden_layers 4", False, False),
        (VllmEngine, "-tp 4 --offload-group-size=8", False, False),
        (VllmEngine, "-tp 4 --offload-backend prefetch", False, False),
        (VllmEngine, "-tp 4 --additional-config.quantise true", False, False),
        (VllmEngine, "-tp 4 --quantization fp8", True, False),
        (SglangEngine, "--tp 4", False, True),
        (SglangEngine, "--tp 4 --torchao-config int4wo-128", False, False),
        (SglangEngine, "--tp 4 --offload-group-size 4", False, False),
        (SglangEngine, "--tp 4 --modelopt-quant fp8", False, False),
    ],
)
def test_an_engine_tells_what_its_model_and_its_options_are(
    engine: type[Engine], others: str, whole: bool, knows: bool, tmp_path: Path
) -> None:
    workplace = a_workplace(tmp_path)
    LLAMA.written(workplace.working_directory / "model")
    facts = engine({"command": {"model": "./model", "others": others}}).model_facts(workplace)  # type: ignore[attr-defined]
    assert facts.arguments["tensor_parallel_size"] == "4"
    assert facts.needs_a_whole_sequence == whole
    assert (facts.weights is not None) == knows
