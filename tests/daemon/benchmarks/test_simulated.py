from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serviceoptd.benchmarks.interface import MeasurementOrder, UnusableResult
from serviceoptd.benchmarks.simulated import SimulatedBenchmark
from serviceoptd.contract.benchmark import BenchmarkContract
from serviceoptd.contract.orders import VLLM_CONFIGURATION, a_measurement_order, a_workplace, an_outcome
from serviceoptd.domain.settings import Objective, Slo


class TestSimulated(BenchmarkContract):
    benchmark = SimulatedBenchmark


def an_order(tmp_path: Path, **more: Any) -> MeasurementOrder:
    return a_measurement_order(a_workplace(tmp_path), more.pop("configuration", VLLM_CONFIGURATION), **more)


def test_a_measurement_done_again_gives_the_same_and_the_next_one_another(tmp_path: Path) -> None:
    client = SimulatedBenchmark({})
    keys = (((1, 2, 3), 1), ((1, 2, 3), 2), ((1, 2, 4), 1))
    plans = [client.plan(an_order(tmp_path, noise_key=key, seed=seed)) for key, seed in keys]
    assert plans[0] == plans[1]
    assert plans[0] != plans[2]


def test_without_noise_every_measurement_is_the_same(tmp_path: Path) -> None:
    client = SimulatedBenchmark({"noise": False})
    assert client.plan(an_order(tmp_path, noise_key=(1, 2, 3))) == client.plan(an_order(tmp_path, noise_key=(4, 5, 6)))


def test_a_setting_that_does_not_start_cannot_be_measured(tmp_path: Path) -> None:
    client = SimulatedBenchmark({})
    too_much = VLLM_CONFIGURATION | {"MAX_NUM_BATCHED_TOKENS": 65536, "MAX_NUM_SEQS": 512}
    order = an_order(tmp_path, configuration=too_much)
    assert "out of memory" in str(client.plan(order).failure)
    with pytest.raises(UnusableResult, match="out of memory"):
        client.read(an_outcome(client, order))


def test_a_load_under_which_nothing_completes_is_a_failure(tmp_path: Path) -> None:
    drowned = VLLM_CONFIGURATION | {"MAX_NUM_SEQS": 32, "CONCURRENCY": 1000}
    plan = SimulatedBenchmark({}).plan(an_order(tmp_path, configuration=drowned))
    assert plan.simulated is None
    assert plan.failure == "none of 1000 requests completed within 120 s"


def test_the_statistics_of_the_objective_are_there(tmp_path: Path) -> None:
    slos = (Slo(metric="ttft", statistic="p99.9", limit=1), Slo(metric="e2el", statistic="max", limit=60))
    plan = SimulatedBenchmark({}).plan(an_order(tmp_path, objective=Objective(maximise="goodput", slos=slos)))
    assert plan.simulated is not None
    assert plan.simulated.ttft["p99"] < plan.simulated.ttft["p99.9"] <= plan.simulated.ttft["max"]
    assert plan.simulated.goodput is not None
    assert plan.simulated.goodput < plan.simulated.throughput


def test_its_pace_and_its_prompts_are_the_configured_ones(tmp_path: Path) -> None:
    client = SimulatedBenchmark({"measurement_seconds": 0.2, "num_prompts": 10})
    assert client.pace == 0.2
    assert client.plan(an_order(tmp_path)).num_prompts == 10
