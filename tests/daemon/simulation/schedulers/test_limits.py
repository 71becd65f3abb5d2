"""Which parameters limit the simulated schedulers."""

from __future__ import annotations

import pytest

from serviceopt_journal.errors import InvalidConfiguration
from serviceoptd.domain.settings import Field
from serviceoptd.simulation.schedulers.limits import MissingLimits, limits, of_configuration, searched
from serviceoptd.simulation.schedulers.mindie import MindieLimits
from serviceoptd.simulation.schedulers.vllm_limits import VllmLimits

VLLM = {"max_num_seqs": 8, "max_num_batched_tokens": 512, "max_model_len": 1024, "kv_blocks": 100}


@pytest.mark.parametrize(
    ("name", "position", "limit"),
    [
        ("MAX_NUM_SEQS", "env", "max_num_seqs"),
        ("sequences", "argument:--max-num-seqs", "max_num_seqs"),
        ("size", "BackendConfig.ScheduleConfig.maxBatchSize", "max_batch_size"),
        (
            "max_queue_deloy_mircroseconds", "BackendConfig.ScheduleConfig.maxQueueDelayMicroseconds",
            "max_queue_delay_microseconds",
        ),
        ("decode_ms", "BackendConfig.ScheduleConfig.decodeTimeMsPerReq", "decode_time_ms_per_req"),
    ],
)  # fmt: skip
def test_a_parameter_is_known_by_its_name_or_by_its_place(name: str, position: str, limit: str) -> None:
    field = Field(name=name, config_position=position, min=1, max=99, dtype="int")
    assert searched({name: 17}, [field])[limit] == 17


def test_a_parameter_that_is_not_given_leaves_the_default() -> None:
    assert "block_size" not in searched({"BLOCK_SIZE": ""}, ())


def test_values_are_taken_as_configurations_hold_them() -> None:
    assert limits("vllm", VLLM | {"max_num_seqs": 16.0, "enable_chunked_prefill": "true"}) == VllmLimits(
        **(VLLM | {"max_num_seqs": 16})
    )
    given = {"max_batch_size": "8", "max_prefill_batch_size": 2, "max_prefill_tokens": 512, "max_seq_len": 600}
    mindie = limits("mindie", given | {"npu_blocks": 10, "support_select_batch": True, "TEMPERATURE": 1})
    assert isinstance(mindie, MindieLimits)
    assert (mindie.max_batch_size, mindie.support_select_batch) == (8, True)


BLOCKS = Field(name="BS", config_position="argument:--block-size", dtype="enum", dtype_param=[16, 128], value=16)


@pytest.mark.parametrize("word", ["$BLOCKS", "${BLOCKS}"])
def test_a_limit_may_refer_to_a_field_whatever_its_name(word: str) -> None:
    given = of_configuration("vllm", {"max_num_seqs": word, "block_size": 16}, {"blocks": 9, "BLOCKS_2": 1}, ())
    assert (given["max_num_seqs"], given["block_size"]) == (9, 16)
    assert "max_num_seqs" not in of_configuration("vllm", {"max_num_seqs": word}, {"OTHER": 9}, ())


@pytest.mark.parametrize(
    ("told", "size", "blocks"),
    [
        ({"kv_blocks": 4000}, 128, 500),  # of the current setting's 16 tokens
        ({"kv_blocks": 4000, "block_size": 128}, 16, 32_000),
        ({"kv_blocks": "4000", "block_size": "$BS"}, 128, 500),
        ({"kv_blocks": 4000, "block_size": 128}, 128, 4000),
    ],
)
def test_blocks_of_another_size_are_as_many_as_hold_the_same_tokens(
    told: dict[str, object], size: int, blocks: int
) -> None:
    given = of_configuration("vllm", told, {"BS": size}, [BLOCKS])
    assert (given["kv_blocks"], given["block_size"]) == (blocks, size)


def test_what_has_no_default_and_is_told_nowhere_is_named() -> None:
    with pytest.raises(MissingLimits, match="does not know max_model_len, kv_blocks"):
        limits("vllm", {"max_num_seqs": 8, "max_num_batched_tokens": 512})


@pytest.mark.parametrize("wrong", [{"max_num_seqs": 1000}, {"max_num_seqs": "many"}, {"kv_blocks": 2}])
def test_what_the_engine_would_refuse_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidConfiguration) as refused:
        limits("vllm", VLLM | wrong)
    assert not isinstance(refused.value, MissingLimits)
