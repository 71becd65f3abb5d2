from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.rules.machines import FIELDS, H100, Llama, Machine, deployed, facts_of
from daemon.rules.test_memory import SIZES
from run_stories import some_metrics
from serviceopt_journal.metrics import NOT_TOLD, Metrics
from serviceoptd.contract import RuleContract
from serviceoptd.domain.settings import DeviceFacts, ModelFacts, Slo
from serviceoptd.rules.interface import Result
from serviceoptd.rules.latency_bound import LatencyBound


class TestLatencyBound(RuleContract):
    rule = LatencyBound


SMALL = Llama(layers=32, hidden=4096, heads=32, intermediate=14336)  # 8 billion parameters
TPOT = Slo(metric="tpot", limit=0.010)
WITHOUT_CACHE = {"enable_prefix_caching": "false"}


def measured_with(prompt_tokens: int) -> Result:
    fields = {name: getattr(some_metrics(), name) for name in Metrics.__struct_fields__}
    metrics = Metrics(**{**fields, "completed": 100, "input_tokens": 100 * prompt_tokens})
    return Result(1, deployed(), metrics, "", -1.0, True)


def test_a_tpot_below_the_time_to_read_the_weights_is_rejected_with_the_best_that_could_be_had(tmp_path: Path) -> None:
    facts = facts_of(Llama().facts(tmp_path), slos=(TPOT,))
    verdict = LatencyBound().judge(deployed(tp=2, concurrency=10), facts)
    assert verdict is not None
    assert verdict.reason == "mean TPOT is at least 20.7 ms on 2 x NVIDIA H100 80GB HBM3, the limit is 10 ms"
    assert verdict.predicted is not None
    assert verdict.predicted.tpot["mean"] == pytest.approx(0.0207, abs=1e-4)
    assert verdict.predicted.generate_speed == pytest.approx(10 / verdict.predicted.tpot["mean"])
    assert verdict.predicted.throughput == NOT_TOLD
    assert LatencyBound().judge(deployed(tp=8), facts) is None


def test_an_objective_that_no_configuration_can_keep_is_measured_all_the_same(tmp_path: Path) -> None:
    impossible = Slo(metric="tpot", limit=0.001)
    facts = facts_of(Llama().facts(tmp_path), slos=(impossible,))
    assert all(LatencyBound().judge(deployed(tp=tp), facts) is None for tp in (1, 2, 4, 8))
    fixed = facts_of(Llama().facts(tmp_path), slos=(TPOT,), fields=FIELDS[1:])
    assert LatencyBound().judge(deployed(), fixed) is None


def test_every_percentile_is_above_the_time_of_a_step(tmp_path: Path) -> None:
    facts = facts_of(Llama().facts(tmp_path), slos=(Slo(metric="ttft", statistic="p50", limit=0.010),))
    assert LatencyBound().judge(deployed(tp=2), facts) is not None


def test_speculative_decoding_gives_several_tokens_in_one_step(tmp_path: Path) -> None:
    guessing = Llama().facts(tmp_path, {"speculative_config": "{}"})
    assert LatencyBound().judge(deployed(tp=2), facts_of(guessing, slos=(TPOT,))) is None
    ttft = Slo(metric="ttft", limit=0.010)
    assert LatencyBound().judge(deployed(tp=2), facts_of(guessing, slos=(ttft,))) is not None


def test_a_prompt_is_computed_in_no_less_than_its_operations_take_where_no_prefix_is_cached(tmp_path: Path) -> None:
    slo = Slo(metric="ttft", limit=0.2)  # 8192 tokens of 8 billion parameters on one device: 0.11 s
    cached, computed = SMALL.facts(tmp_path), SMALL.facts(tmp_path, WITHOUT_CACHE)
    long, longer = measured_with(8192), measured_with(32768)
    assert LatencyBound().judge(deployed(), facts_of(computed, slos=(slo,))) is None
    assert LatencyBound().judge(deployed(), facts_of(computed, long, slos=(slo,))) is None
    assert LatencyBound().judge(deployed(), facts_of(computed, longer, slos=(slo,))) is not None
    assert LatencyBound().judge(deployed(tp=4), facts_of(computed, longer, slos=(slo,))) is None
    assert LatencyBound().judge(deployed(), facts_of(cached, longer, slos=(slo,))) is None
    median = Slo(metric="ttft", statistic="p50", limit=0.2)
    assert LatencyBound().judge(deployed(), facts_of(computed, longer, slos=(median,))) is None


@pytest.mark.parametrize("device", [DeviceFacts(), DeviceFacts(memory=1e9)])
def test_an_unknown_device_is_no_reason(device: DeviceFacts, tmp_path: Path) -> None:
    facts = facts_of(Llama().facts(tmp_path), slos=(TPOT,), device=device)
    assert LatencyBound().judge(deployed(tp=1), facts) is None


def test_an_unknown_model_is_no_reason() -> None:
    assert LatencyBound().judge(deployed(), facts_of(ModelFacts(), slos=(TPOT,))) is None


@given(
    model=SIZES,
    tp=st.sampled_from([1, 2, 4, 8]),
    prompt=st.integers(1, 100_000),
    efficiency=st.floats(0.5, 1.1),
    cached=st.floats(0, 256 * 1024**2),
    slack=st.floats(1.0, 3.0),
)
def test_nothing_that_could_keep_its_objectives_is_rejected(
    model: Llama, tp: int, prompt: int, efficiency: float, cached: float, slack: float
) -> None:
    # clocks above those of the data sheet speed operations up, and not the memory
    machine = Machine(H100, efficiency=min(1.0, efficiency), cached=cached)
    ttft, tpot = machine.step(model, tp, prompt) / max(1.0, efficiency), machine.step(model, tp, 1)
    ttft = max(ttft, tpot)
    slos = (
        Slo(metric="ttft", limit=slack * ttft),
        Slo(metric="tpot", statistic="p99", limit=slack * tpot),
        Slo(metric="e2el", limit=slack * (ttft + tpot)),
    )
    with tempfile.TemporaryDirectory() as directory:
        known = model.facts(Path(directory), WITHOUT_CACHE)
    facts = facts_of(known, measured_with(prompt), slos=slos)
    assert LatencyBound().judge(deployed(tp=tp), facts) is None
