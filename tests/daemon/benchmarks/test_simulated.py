from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serviceoptd.benchmarks.interface import MeasurementOrder
from serviceoptd.benchmarks.simulated import SimulatedBenchmark
from serviceoptd.contract.benchmark import BenchmarkContract
from serviceoptd.contract.orders import VLLM_CONFIGURATION, a_measurement_order, a_workplace, an_outcome
from serviceoptd.domain.settings import Objective, Slo
from serviceoptd.toolkit.interface import UnusableResult
from trained_models import LIMITS, a_model_file


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


TRAINED = {"model": "latency_model.json", "limits": LIMITS, "num_prompts": 30, "input_tokens": 100, "output_tokens": 10}
SMALL = {"MAX_NUM_SEQS": 16, "MAX_NUM_BATCHED_TOKENS": 512, "CONCURRENCY": 8, "REQUESTRATE": 3.0}


def test_with_a_trained_model_load_and_lengths_are_those_of_the_order(tmp_path: Path) -> None:
    order = an_order(tmp_path, configuration=SMALL)
    a_model_file(order.workplace.working_directory)
    metrics = SimulatedBenchmark(TRAINED).plan(order).simulated
    assert metrics is not None
    assert (metrics.completed, metrics.input_tokens, metrics.output_tokens) == (30, 3000, 300)
    assert metrics.duration == pytest.approx(30 / 3.0, rel=0.3)  # as long as the requests come
    sampled = SimulatedBenchmark(TRAINED).plan(replace(order, sample=5))
    assert sampled.num_prompts == 5


def test_with_a_trained_model_noise_is_what_the_client_draws_and_nothing_else(tmp_path: Path) -> None:
    orders = [an_order(tmp_path, configuration=SMALL, noise_key=key) for key in ((1, 2, 3), (1, 5, 3), (1, 2, 4))]
    a_model_file(orders[0].workplace.working_directory)
    first, elsewhere, next_one = (SimulatedBenchmark(TRAINED).plan(order) for order in orders)
    assert first == elsewhere != next_one
    quiet = [SimulatedBenchmark(TRAINED | {"noise": False}).plan(order) for order in orders]
    assert quiet[0] == quiet[1] == quiet[2]


def test_a_prediction_outside_of_the_training_data_says_so(tmp_path: Path) -> None:
    order = an_order(tmp_path, configuration=SMALL)
    a_model_file(order.workplace.working_directory)
    plan = SimulatedBenchmark(TRAINED | {"input_tokens": 4, "output_tokens": 500}).plan(order)
    assert plan.remark.startswith("outside the latency model's training data for ")


def test_requests_that_the_service_would_refuse_are_a_failure(tmp_path: Path) -> None:
    order = an_order(tmp_path, configuration=SMALL)
    a_model_file(order.workplace.working_directory)
    plan = SimulatedBenchmark(TRAINED | {"input_tokens": 5000}).plan(order)
    assert plan.failure == "none of 30 requests was accepted: they are longer than the service's limit"
