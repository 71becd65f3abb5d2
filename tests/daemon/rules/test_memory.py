from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.rules.machines import FIELDS, GIBIBYTE, H100, Llama, Machine, deployed, facts_of
from serviceoptd.contract import RuleContract
from serviceoptd.domain.settings import DeviceFacts, Field, ModelFacts
from serviceoptd.rules.interface import Result
from serviceoptd.rules.memory import Memory


class TestMemory(RuleContract):
    rule = Memory


SIZES = st.builds(
    Llama,
    layers=st.integers(1, 100),
    hidden=st.sampled_from([512, 4096, 8192]),
    heads=st.sampled_from([8, 64]),
    kv_heads=st.sampled_from([1, 4, 8]),
    head_dim=st.sampled_from([64, 128]),
    intermediate=st.integers(1024, 30000),
    vocabulary=st.integers(1000, 200_000),
    tied=st.booleans(),
)


def test_weights_that_do_not_fit_on_one_device_are_rejected_and_fit_on_two_or_more(tmp_path: Path) -> None:
    facts = facts_of(Llama().facts(tmp_path))
    one = Memory().judge(deployed(tp=1), facts)
    assert one is not None
    assert one.reason == (
        "131.4 GiB of weights on each of 1 devices and 2.5 GiB for one sequence of 8192 tokens, "
        "and 80.0 GiB (1 of 80.0 GiB) are there"
    )
    assert Memory().judge(deployed(tp=2), facts) is None


def test_a_sequence_that_does_not_fit_beside_the_weights_is_rejected_only_where_the_engine_insists(
    tmp_path: Path,
) -> None:
    model = Llama().facts(tmp_path)
    # 66 GiB of weights and 20 GiB for a sequence on each of two devices
    assert Memory().judge(deployed(tp=2, length=131072), facts_of(model)) is not None
    assert Memory().judge(deployed(tp=4, length=131072), facts_of(model)) is None
    clipping = Llama().facts(tmp_path)
    clipping = type(clipping)(**{f: getattr(clipping, f) for f in clipping.__struct_fields__} | {
        "needs_a_whole_sequence": False})  # fmt: skip
    assert Memory().judge(deployed(tp=2, length=131072), facts_of(clipping)) is None


def test_the_share_of_the_memory_that_the_engine_may_use_counts(tmp_path: Path) -> None:
    wide = facts_of(Llama().facts(tmp_path, {"gpu_memory_utilization": "0.9"}))
    narrow = facts_of(Llama().facts(tmp_path, {"gpu_memory_utilization": "0.8"}))
    assert Memory().judge(deployed(tp=2), wide) is None
    assert Memory().judge(deployed(tp=2), narrow) is not None


@pytest.mark.parametrize(
    "facts",
    [
        facts_of(ModelFacts()),
        facts_of(ModelFacts(weights=1e15), device=DeviceFacts()),
        facts_of(ModelFacts(cache_numbers=10**9, longest=10**6)),
    ],
)
def test_what_is_not_known_is_no_reason(facts: object) -> None:
    assert Memory().judge(deployed(), facts) is None  # type: ignore[arg-type]


@given(model=SIZES, tp=st.sampled_from([1, 2, 4, 8]), length=st.integers(512, 131072), gib=st.integers(1, 200))
def test_nothing_that_would_start_is_rejected(model: Llama, tp: int, length: int, gib: int) -> None:
    device = DeviceFacts(memory=float(gib * GIBIBYTE))
    with tempfile.TemporaryDirectory() as directory:
        facts = facts_of(model.facts(Path(directory)), device=device)
    verdict = Memory().judge(deployed(tp=tp, length=length), facts)
    assert verdict is None or not Machine(device).starts(model, tp, length)
    if Machine(device, runtime=-0.01 * gib * GIBIBYTE).starts(model, tp, length):
        return
    # and it is sharp: what is one per cent too large for a machine that needs nothing for itself is rejected
    assert verdict is not None


UTILISATION = Field(
    name="SHARE", dtype="float", min=0.5, max=0.95, config_position="argument:--gpu-memory-utilization", value=0.9
)


def launched(configuration: dict[str, object], blocks: int | None) -> Result:
    return Result(1, configuration, None, "", 1.0, False, kv_blocks=blocks)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seqs", "share", "length", "rejected"),
    [
        (128, 0.9, 32768, True),  # no more blocks than the 1,500 with half as many sequences
        (128, 0.9, 16384, False),  # it fits into these
        (32, 0.9, 32768, False),  # fewer sequences may leave more
        (128, 0.95, 32768, False),  # so may more memory
        (128, 0.8, 32768, True),
    ],
)
def test_reported_blocks_bound_those_of_every_configuration_that_leaves_no_more_memory(
    seqs: int, share: float, length: int, rejected: bool
) -> None:
    model = ModelFacts(arguments={"block_size": "16"}, needs_a_whole_sequence=True)
    known = launched({**deployed(seqs=64, length=8192, concurrency=5), "SHARE": 0.9}, 1500)
    facts = facts_of(model, known, fields=(*FIELDS, UTILISATION))
    verdict = Memory().judge({**deployed(seqs=seqs, length=length), "SHARE": share}, facts)
    assert (verdict is not None) == rejected
    other_devices = Memory().judge({**deployed(tp=2, seqs=seqs, length=length), "SHARE": share}, facts)
    assert other_devices is None


def test_blocks_of_unknown_size_teach_nothing() -> None:
    facts = facts_of(ModelFacts(needs_a_whole_sequence=True), launched(dict(deployed(length=512)), 1), device=H100)
    assert Memory().judge(deployed(length=131072), facts) is None


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("cpu_offload_gb", 40, False),
        ("CPU_OFFLOAD_GB", 0, True),
        ("hf_overrides.num_hidden_layers", 4, False),
        ("quantization", "fp8", False),
        ("offload_group_size", 8, False),
    ],
)
def test_nothing_is_said_of_a_configuration_that_changes_what_is_loaded(
    name: str, value: int | str, says: bool, tmp_path: Path
) -> None:
    fixed = facts_of(Llama().facts(tmp_path, {name.lower(): str(value)}))
    assert (Memory().judge(deployed(tp=1, length=512), fixed) is not None) is says
    field = Field(name=name, dtype="enum", dtype_param=[value])
    searched = facts_of(Llama().facts(tmp_path), fields=(*FIELDS, field))
    assert (Memory().judge(deployed(tp=1, length=512) | {name: value}, searched) is not None) is says
