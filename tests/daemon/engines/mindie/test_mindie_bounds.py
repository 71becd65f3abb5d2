"""The upper bound of the batch, against the worked example of the manual and against its own definition."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serviceoptd.contract.orders import a_workplace
from serviceoptd.domain.settings import Field
from serviceoptd.domain.space.space import Space
from serviceoptd.engines.interface import Survey
from serviceoptd.engines.mindie.bounds import GIBIBYTE, Lengths, bound, cache_of, memory_of
from serviceoptd.engines.mindie.engine import MindieEngine
from stubs.mindie_home import MODEL, a_mindie

FIELDS = tuple(msgspec.convert(MindieEngine.defaults["target_field"], list[Field], strict=False))
DEEPSEEK = {"num_hidden_layers": 61, "kv_lora_rank": 512, "qk_rope_head_dim": 64, "torch_dtype": "bfloat16",
            "num_attention_heads": 128, "num_key_value_heads": 128, "hidden_size": 7168}  # fmt: skip


def test_the_worked_example_of_the_manual_comes_out() -> None:
    cache = cache_of(MODEL, tensor_parallel=1)
    memory = memory_of(34, None, 0, 1, 0.8)
    assert cache is not None
    assert memory is not None
    usual, longest = Lengths(60, 346), Lengths(60, 512)
    average = bound(cache, memory, block_size=128, usual=usual, longest=longest, scaling_coefficient=1.0)
    most = bound(cache, memory, block_size=128, usual=longest, longest=longest, scaling_coefficient=1.0)
    assert (average.requests, most.requests) == (544, 435)
    assert "= 2176 blocks, 4 for a request" in average.explanation


def test_the_memory_is_what_the_weights_leave_of_the_devices_share() -> None:
    memory = memory_of(-1, 64, 15 * GIBIBYTE, 1, 0.8)
    assert memory is not None
    assert memory.size == pytest.approx((64 * 0.8 - 15) * GIBIBYTE)
    memory = memory_of(-1, 64, 15 * GIBIBYTE, 4, 0.8)
    assert memory is not None
    assert memory.size == pytest.approx((64 * 0.8 - 15 / 4) * GIBIBYTE)
    none = memory_of(-1, 16, 30 * GIBIBYTE, 1, 0.8)
    assert none is not None
    assert none.size == 0  # the model does not fit at all
    assert memory_of(-1, None, 15 * GIBIBYTE, 1, 0.8) is None
    assert memory_of(-1, 64, 0, 1, 0.8) is None  # weights that are not known must not count as none


@pytest.mark.parametrize(
    ("model", "parallel", "size"),
    [
        (MODEL, 1, 2 * 32 * 8 * 128 * 2),
        (MODEL, 4, 2 * 32 * 2 * 128 * 2),
        (MODEL, 16, 2 * 32 * 1 * 128 * 2),  # fewer KV heads than accelerators: a copy on each
        ({**MODEL, "num_key_value_heads": None}, 1, 2 * 32 * 32 * 128 * 2),
        ({**MODEL, "head_dim": 64}, 1, 2 * 32 * 8 * 64 * 2),
        ({**MODEL, "quantization_config": {"kv_quant_type": "C8"}}, 1, 2 * 32 * 8 * 128),
        ({**MODEL, "torch_dtype": None, "dtype": "float32"}, 1, 2 * 32 * 8 * 128 * 4),
        (DEEPSEEK, 8, 61 * (512 + 64) * 2),
    ],
)
def test_a_token_takes_what_the_architecture_says(model: dict[str, Any], parallel: int, size: int) -> None:
    cache = cache_of(model, parallel)
    assert cache is not None
    assert cache.bytes_per_token == size


@pytest.mark.parametrize("gone", ["num_hidden_layers", "num_attention_heads", "torch_dtype"])
def test_a_model_that_does_not_tell_gives_no_bound(gone: str) -> None:
    model = {key: value for key, value in MODEL.items() if key not in (gone, "num_key_value_heads")}
    assert cache_of(model, 1) is None


@given(
    npu=st.integers(1, 100), block=st.integers(1, 128), entered=st.integers(1, 5000), left=st.integers(0, 5000),
    scale=st.floats(0.1, 3),
)  # fmt: skip
def test_as_many_requests_as_the_bound_allows_fit_and_one_more_does_not(
    npu: int, block: int, entered: int, left: int, scale: float
) -> None:
    cache, memory = cache_of(MODEL, 1), memory_of(npu, None, 0, 1, 0.8)
    assert cache is not None
    assert memory is not None
    lengths = Lengths(entered, left)
    found = bound(cache, memory, block_size=block, usual=lengths, longest=lengths, scaling_coefficient=1.0).requests
    tokens = block * (math.ceil(entered / block) + math.ceil(left / block))
    assert found * tokens * cache.bytes_per_token <= memory.size
    assert (found + 1) * tokens * cache.bytes_per_token > memory.size - block * cache.bytes_per_token
    unknown = bound(
        cache, memory, block_size=block, usual=Lengths(None, None), longest=lengths, scaling_coefficient=scale
    ).requests
    scaled = bound(cache, memory, block_size=block, usual=lengths, longest=lengths, scaling_coefficient=scale).requests
    assert scaled <= unknown  # not knowing the lengths never excludes a setting that knowing them allows


def surveyed(tmp_path: Path, *, guidance: dict[str, Any] | None = None, npu: int = -1, **options: Any) -> Survey:
    config = tmp_path / "mindie-service" / "conf" / "config.json"
    if not config.exists():
        a_mindie(tmp_path / "mindie-service", weights=15 * GIBIBYTE)
    config.write_text(config.read_text().replace('"npuMemSize" : -1', f'"npuMemSize" : {npu}'))
    place = a_workplace(tmp_path, {"MIES_INSTALL_PATH": str(tmp_path / "mindie-service")})
    fields = options.pop("fields", FIELDS)
    return MindieEngine(options).surveyed(fields, place, guidance or {})


def test_current_values_are_those_of_the_file(tmp_path: Path) -> None:
    survey = surveyed(tmp_path)
    assert {field.name: field.value for field in survey.fields} == {
        "max_batch_size": 200,
        "max_prefill_batch_size": 50,
        "prefill_time_ms_per_req": 150,
        "decode_time_ms_per_req": 50,
        "support_select_batch": False,
        "max_queue_deloy_mircroseconds": 5000,
        "max_preempt_count": 0,
        "CONCURRENCY": 100,
        "REQUESTRATE": 100,
    }
    current = Space.of(survey.fields).current()
    assert current is not None
    assert current["max_batch_size"] == 200


def test_a_prefill_batch_of_0_is_read_as_the_server_reads_it(tmp_path: Path) -> None:
    surveyed(tmp_path)
    config = tmp_path / "mindie-service" / "conf" / "config.json"
    config.write_text(config.read_text().replace('"maxPrefillBatchSize" : 50', '"maxPrefillBatchSize" : 0'))
    assert surveyed(tmp_path).fields[1].value == 200


def test_the_bound_is_lowered_and_the_reason_told(tmp_path: Path) -> None:
    survey = surveyed(tmp_path, npu=17, average_input_tokens=1000, average_output_tokens=400)
    # two accelerators: 4 of 8 KV heads each; 17 GiB = 2176 blocks; 8 + 4 blocks a request; 181 x 1.3 = 235.3
    assert survey.fields[0].max == 236
    (remark,) = survey.remarks
    assert remark.key == "mindie.target_field max_batch_size"
    assert remark.message == (
        "max lowered from 1000 to 236: the memory allows 236 requests: npuMemSize of 17 GiB / (128 tokens x 2 x 32 "
        "layers x 4 of 8 KV heads x 128 numbers x 2 bytes) = 2176 blocks, 12 for a request, x 1.3"
    )


def test_the_memory_of_the_device_counts_where_mindie_divides_it_itself(tmp_path: Path) -> None:
    lengths = {"average_input_tokens": 1000, "average_output_tokens": 400}
    (remark,) = surveyed(tmp_path, **lengths).remarks
    assert "give [mindie] device_memory" in remark.message
    survey = surveyed(tmp_path, device_memory=32, **lengths)
    blocks = math.floor((32 * 0.8 - 15 / 2) * GIBIBYTE / (128 * 2 * 32 * 4 * 128 * 2))
    assert survey.fields[0].max == math.ceil(blocks // 12 * 1.3)
    tighter = surveyed(
        tmp_path, guidance={"mem_coefficient": 0.5, "scaling_coefficient": 1.0}, device_memory=32, **lengths
    )
    assert tighter.fields[0].max == max(200, math.floor((32 * 0.5 - 15 / 2) * GIBIBYTE / (128 * 65536)) // 12)


def test_without_the_lengths_of_the_requests_the_bound_is_wide(tmp_path: Path) -> None:
    survey = surveyed(tmp_path, npu=17)
    assert survey.fields[0].max == 1000
    assert "average_input_tokens" in survey.remarks[0].message
    assert "108 of the longest requests fit" in survey.remarks[0].message  # 2176 / (2048 / 128 + 512 / 128)


@pytest.mark.parametrize(
    ("changes", "most"),
    [({"max": 100.0}, 100.0), ({"min": 500.0}, 500.0), ({}, 200.0), ({"value": 64}, 66.0), ({"constant": 700}, 1000.0)],
    ids=["max stays", "min stays", "current value stays", "given value", "fixed"],
)
def test_the_bounds_that_somebody_gave_are_never_left(tmp_path: Path, changes: dict[str, Any], most: float) -> None:
    field = msgspec.structs.replace(FIELDS[0], **changes)
    # 1 GiB on two accelerators: 128 blocks; 2 for a request; 64 x 1.03 = 65.92
    survey = surveyed(tmp_path, npu=1, guidance={"scaling_coefficient": 1.03}, average_input_tokens=128,
                      average_output_tokens=128, fields=(field,))  # fmt: skip
    assert survey.fields[0].max == most


def test_it_is_switched_off_by_its_key(tmp_path: Path) -> None:
    survey = surveyed(tmp_path, npu=1, guidance={"theory_guided_enable": False}, average_input_tokens=9000,
                      average_output_tokens=9000)  # fmt: skip
    assert survey.fields[0].max == 1000
    assert survey.remarks == ()


def test_a_file_that_cannot_be_read_changes_nothing(tmp_path: Path) -> None:
    assert MindieEngine({}).surveyed(FIELDS, a_workplace(tmp_path), {}) == Survey(FIELDS)
