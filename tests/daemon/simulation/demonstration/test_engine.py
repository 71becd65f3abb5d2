from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serviceopt_journal.metrics import Metrics
from serviceoptd.domain.objective import judge
from serviceoptd.domain.settings import Field, Objective, Slo
from serviceoptd.domain.space.space import Space
from serviceoptd.engines.simulated import SimulatedEngine
from serviceoptd.predicting.section import setting_of
from serviceoptd.simulation.demonstration.client import sampled_metrics
from serviceoptd.simulation.demonstration.engine import (
    Load,
    Machine,
    Setting,
    Workload,
    kv_blocks,
    refused_launch,
    steady_state,
)

MACHINE, WORKLOAD = Machine(), Workload()
DEMO = Objective(slos=(Slo(metric="ttft", limit=1.0), Slo(metric="tpot", limit=0.05)))
SPACE = Space.of(msgspec.convert(SimulatedEngine.defaults["target_field"], list[Field], strict=False))
SETTINGS = st.builds(
    Setting,
    max_num_seqs=st.integers(1, 1024),
    max_num_batched_tokens=st.integers(256, 65536),
    tensor_parallel_size=st.sampled_from([1, 2, 4, 8]),
    gpu_memory_utilization=st.floats(0.5, 0.99),
    enable_chunked_prefill=st.booleans(),
    block_size=st.sampled_from([8, 16, 32, 128]),
)
LOADS = st.builds(
    Load,
    concurrency=st.none() | st.integers(1, 2000),
    request_rate=st.none() | st.floats(0.01, 1000.0),
)


def measured(setting: Setting, concurrency: int | None = 100, rate: float | None = None, **key: int) -> Metrics:
    noise = (key["seed"], key["particle"], key["measurement"]) if key else None
    return sampled_metrics(MACHINE, setting, WORKLOAD, Load(concurrency, rate), DEMO.slos, noise)


def test_the_demo_space_has_its_optimum_inside_and_every_kind_of_bad_corner() -> None:
    size = 17
    grid = [
        SPACE.decode((tokens / (size - 1), seqs / (size - 1), load / (size - 1)))
        for tokens in range(size)
        for seqs in range(size)
        for load in range(size)
    ]
    assert len(SPACE.dimensions) == 3
    refused = [c for c in grid if refused_launch(MACHINE, setting_of(c))]
    results = {
        tuple(c.items()): judge(measured(setting_of(c), int(c["CONCURRENCY"])), DEMO)
        for c in grid
        if not refused_launch(MACHINE, setting_of(c))
    }
    feasible = {c: j for c, j in results.items() if j.feasible}
    best_configuration, best = min(feasible.items(), key=lambda item: item[1].fitness)
    best_values = dict(best_configuration)
    assert 0.01 < len(refused) / len(grid) < 0.2
    assert 0.2 < len(feasible) / len(results) < 0.8
    for field in SPACE.dimensions:
        assert field.min < best_values[field.name] < field.max  # type: ignore[operator]
    current = SPACE.current()
    assert current is not None
    now = judge(measured(setting_of(current), int(current["CONCURRENCY"])), DEMO)
    assert now.feasible
    assert now.objective is not None
    assert best.objective is not None
    assert best.objective > 1.4 * now.objective


@given(setting=SETTINGS, load=LOADS)
@settings(max_examples=200, deadline=None)
def test_whatever_starts_gives_numbers_that_can_be(setting: Setting, load: Load) -> None:
    if refused_launch(MACHINE, setting):
        return
    metrics = sampled_metrics(MACHINE, setting, WORKLOAD, load, DEMO.slos, (1, 2, 3))
    assert metrics.completed + metrics.failed == WORKLOAD.num_prompts
    assert 0 <= metrics.success_rate <= 1
    for latency in (metrics.ttft, metrics.tpot, metrics.e2el):
        ordered = [latency[name] for name in ("min", "p50", "p90", "p95", "p99", "max")]
        assert ordered == sorted(ordered)
        assert ordered[0] > 0
    assert metrics.goodput is not None
    assert 0 <= metrics.goodput <= metrics.throughput * (1 + 1e-9)
    if load.request_rate is not None:
        # 4 standard deviations of the noise
        assert metrics.throughput <= load.request_rate * 1.13


@given(setting=SETTINGS, load=LOADS, key=st.tuples(*[st.integers(0, 9)] * 3))
@settings(max_examples=50, deadline=None)
def test_the_same_measurement_always_gives_the_same(setting: Setting, load: Load, key: tuple[int, int, int]) -> None:
    if refused_launch(MACHINE, setting):
        return
    first, second = (sampled_metrics(MACHINE, setting, WORKLOAD, load, (), key) for _ in range(2))
    assert first == second


def test_noise_is_three_percent_of_the_speed_and_another_in_each_measurement() -> None:
    setting = Setting(max_num_seqs=128)
    truth = measured(setting).generate_speed
    speeds = [
        measured(setting, seed=1, particle=p, measurement=m).generate_speed / truth
        for p in range(20)
        for m in range(10)
    ]
    assert len(set(speeds)) == 200
    mean = sum(speeds) / len(speeds)
    deviation = (sum((speed - mean) ** 2 for speed in speeds) / len(speeds)) ** 0.5
    assert mean == pytest.approx(1, abs=0.01)
    assert 0.02 < deviation < 0.04


def test_more_concurrency_costs_latency_and_saturates() -> None:
    setting = Setting(max_num_seqs=96, max_num_batched_tokens=16384)
    speeds = [measured(setting, n) for n in (1, 8, 32, 96, 192, 384)]
    assert all(a.tpot["mean"] <= b.tpot["mean"] + 1e-12 for a, b in pairwise(speeds))
    assert all(a.ttft["mean"] < b.ttft["mean"] for a, b in pairwise(speeds))
    assert speeds[3].generate_speed > 10 * speeds[0].generate_speed
    assert speeds[5].generate_speed == pytest.approx(speeds[3].generate_speed, rel=0.01)
    assert speeds[5].ttft["mean"] > 10 * speeds[3].ttft["mean"]


def test_fewer_tokens_than_a_sequence_needs_do_not_start_without_chunked_prefill() -> None:
    setting = Setting(max_num_batched_tokens=2048, max_num_seqs=64)
    assert refused_launch(MACHINE, setting) is None
    assert "without chunked prefill" in str(refused_launch(MACHINE, replace(setting, enable_chunked_prefill=False)))


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        (Setting(max_num_batched_tokens=65536, max_num_seqs=512), "out of memory"),
        (Setting(gpu_memory_utilization=0.3), "out of memory"),
        (Setting(max_num_batched_tokens=60000, max_num_seqs=229), "fewer than max_model_len"),
        (Setting(max_num_batched_tokens=64, max_num_seqs=65), "must not be below max_num_seqs"),
    ],
)
def test_what_does_not_fit_is_refused(setting: Setting, reason: str) -> None:
    assert reason in str(refused_launch(MACHINE, setting))


def test_a_full_cache_preempts_and_costs_speed() -> None:
    roomy = steady_state(MACHINE, Setting(max_num_batched_tokens=8192), WORKLOAD, Load(200))
    tight = steady_state(MACHINE, Setting(max_num_batched_tokens=52000), WORKLOAD, Load(200))
    assert roomy.preempted == 0
    assert tight.preempted > 0.3
    assert tight.request_rate < roomy.request_rate


def test_more_devices_are_faster_but_not_in_proportion() -> None:
    one, two = (steady_state(MACHINE, Setting(tensor_parallel_size=n), WORKLOAD, Load(64)) for n in (1, 2))
    assert one.request_rate < two.request_rate < 2 * one.request_rate
    assert kv_blocks(MACHINE, Setting(tensor_parallel_size=2)) > 2 * kv_blocks(MACHINE, Setting())


def test_an_open_load_below_capacity_is_served_as_it_arrives_and_above_it_is_not() -> None:
    setting = Setting(max_num_seqs=96)
    easy, hard = (steady_state(MACHINE, setting, WORKLOAD, Load(None, rate)) for rate in (3.0, 300.0))
    assert easy.request_rate == 3.0
    assert easy.wait < 0.01
    assert hard.request_rate < 20
    assert hard.wait > 10


def test_requests_beyond_the_time_limit_fail() -> None:
    metrics = measured(Setting(max_num_seqs=32), concurrency=640)
    assert 0 < metrics.success_rate < 0.99
    assert metrics.e2el["max"] <= MACHINE.request_timeout_s
