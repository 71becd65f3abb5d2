"""Our scheduler and the real one compose the same batches. Thousands of workloads: tests/bench/scheduler_contract.py."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from builders import Story, a_journal, some_metrics, some_settings
from linear_step_times import LinearStepTimes
from serviceopt_journal.errors import EnvironmentLacks
from serviceoptd.io.json_lines import JsonLines
from serviceoptd.predicting.real_vllm_scheduler import RealVllmScheduler, start_vllm
from serviceoptd.simulation.schedulers.vllm import VllmScheduler
from serviceoptd.simulation.schedulers.vllm_limits import VllmLimits
from serviceoptd.simulation.virtual_clock.arrivals import arrivals
from serviceoptd.simulation.virtual_clock.lengths import RandomLengths, random_requests
from serviceoptd.simulation.virtual_clock.timeline import simulate
from simulated_workloads import described, played, random_workload
from stubs.scenario import client, places
from trained_models import a_model_file, simulated_toml

pytestmark = pytest.mark.real

TENS = range(0, 200, 10)


@pytest.fixture(scope="module")
def vllm(real_engines: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JsonLines]:
    with start_vllm(
        real_engines / "vllm/bin/vllm", environment=os.environ, working_directory=tmp_path_factory.mktemp("vllm")
    ) as child:
        yield child


@pytest.mark.parametrize("first", TENS)
def test_ours_composes_the_batches_of_the_real_scheduler(first: int, vllm: JsonLines) -> None:
    for seed in range(first, first + 10):
        workload = random_workload(seed)
        ours = VllmScheduler(workload.requests, workload.limits)
        real = RealVllmScheduler(workload.requests, workload.limits, vllm)
        for step, (mine, theirs) in enumerate(zip(played(ours, workload), played(real, workload), strict=True)):
            assert described(ours, mine) == described(real, theirs), f"workload {seed}, step {step}"


@pytest.mark.parametrize("two_in_flight", [False, True])
def test_a_benchmark_takes_as_long_with_either_scheduler(two_in_flight: bool, vllm: JsonLines) -> None:
    requests = random_requests(
        arrivals(200, request_rate=8.0, burstiness=0.5),
        RandomLengths(input_tokens=256, output_tokens=64, range_ratio=0.5, prefix_tokens=50),
    )
    limits = VllmLimits(
        max_num_seqs=32,
        max_num_batched_tokens=512,
        max_model_len=1024,
        kv_blocks=300,
        enable_prefix_caching=True,
        async_scheduling=two_in_flight,
    )
    step_times = LinearStepTimes(step=0.02, prefill_token=1e-4, prefill_attention=1e-8, decode_sequence=2e-4)
    ours = simulate(requests, VllmScheduler(requests, limits), step_times, concurrency=40)
    real = simulate(requests, RealVllmScheduler(requests, limits, vllm), step_times, concurrency=40)
    assert ours.preemptions > 0
    assert (ours.sent, ours.first_token, ours.last_token) == (real.sent, real.first_token, real.last_token)
    assert (ours.steps, ours.preemptions, ours.ended) == (real.steps, real.preemptions, real.ended)


def test_a_vllm_that_cannot_take_part_says_why(real_engines: Path, tmp_path: Path) -> None:
    program = real_engines / "vllm/bin/vllm"
    with (
        start_vllm(program, environment=os.environ, working_directory=tmp_path) as child,
        pytest.raises(EnvironmentLacks, match="instead of answering") as error,
    ):
        child.ask({"limits": {}, "requests": []})
    assert "KeyError" in error.value.hint


def test_trust_takes_vllms_own_scheduler_and_finds_what_ours_finds(real_engines: Path, tmp_path: Path) -> None:
    story = Story(settings=some_settings())
    found = [
        event
        for seqs, load in ((4, 8), (16, 40))
        for event in story.measured(some_metrics(), MAX_NUM_SEQS=seqs, MAX_NUM_BATCHED_TOKENS=512, CONCURRENCY=load)
    ]
    environment = places(tmp_path)
    a_journal(Path(environment["SERVICEOPT_STATE_DIR"]), chain(story.submitted(), found))
    a_model_file(tmp_path)
    (tmp_path / "simulated.toml").write_text(simulated_toml(input_tokens=200, output_tokens=40))
    ours, real = (
        json.loads(
            client("trust", "-c", "simulated.toml", "--json", *options, environment=environment, cwd=tmp_path).stdout
        )
        for options in ((), ("--scheduler", str(real_engines / "vllm/bin/vllm")))
    )
    assert (ours["scheduler"], real["scheduler"]) == (None, str(real_engines / "vllm/bin/vllm"))
    assert len(ours["points"]) == 2
    assert ours["points"] == real["points"]
