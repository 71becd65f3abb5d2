"""A real vLLM on the CPU that records its own steps, and a model from them. Takes about two minutes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from real.conftest import Sized
from real.tuning import QUIET
from serviceoptd.predicting.model_file import load
from serviceoptd.profiling.data.reading import read_profile
from serviceoptd.simulation.schedulers.vllm import VllmScheduler
from stubs.scenario import client, free_port, places

pytestmark = [pytest.mark.real, pytest.mark.timeout(1800)]

PROMPTS = 48

CONFIGURATION = """
launch_timeout = 600

[measurement]
warm_up_requests = 4

[vllm]
program = "{program}"

[vllm.command]
port = {port}
model = "{model}"
served_model_name = "tiny"
others = "--max-model-len 1024 --enforce-eager --dtype {dtype}"

[[vllm.target_field]]
name = "MAX_NUM_SEQS"
dtype = "int"
min = 4
max = 32
value = 16

[[vllm.target_field]]
name = "MAX_NUM_BATCHED_TOKENS"
dtype = "int"
min = 128
max = 1024
value = 512

[[vllm.target_field]]
name = "CONCURRENCY"
dtype = "int"
min = 2
max = 32
value = 16

[vllm_benchmark]
program = "{program}"

[vllm_benchmark.command]
port = {port}
model = "{model}"
served_model_name = "tiny"
dataset_name = "random"
num_prompts = {prompts}
others = "--random-input-len 96 --random-output-len 24 --random-range-ratio 0.3 --ignore-eos"
"""


def test_a_stock_vllm_is_profiled_and_train_makes_a_model_with_overheads(
    real_engines: Path, sized: Sized, tmp_path: Path
) -> None:
    sized.shape("a profile")
    file = tmp_path / "config.toml"
    file.write_text(
        CONFIGURATION.format(
            program=real_engines / "vllm/bin/vllm",
            model=real_engines / "model-5m",
            port=free_port(),
            prompts=PROMPTS,
            dtype=sized.dtype,
        )
    )
    environment = {**places(tmp_path), **QUIET}
    ended = client(
        "profile", "-c", str(file), "-o", "recorded", "--configurations", "2", "--loads", "2", "--json",
        environment=environment, limit=1500, cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    document = json.loads(ended.stdout)
    assert len(document["steps"]) == 4
    assert document["left_out"] == {}

    profile = read_profile(tmp_path / "recorded", framework="vllm")
    assert len(profile.loads) == 4
    for load_, run in zip(profile.loads, profile.runs, strict=True):
        assert run.name == load_.run
        assert run.composition[:, 0].max() > 0
        assert len(load_.requests) == measured(load_.concurrency)
        # each token of the measured requests was computed once, in the steps that were recorded for them
        prompts, outputs = (
            sum(getattr(each, f"{kind}_tokens") for each in load_.requests) for kind in ("prompt", "output")
        )
        assert run.composition[:, 1].sum() == pytest.approx(prompts, rel=0.02)
        assert run.composition[:, 3].sum() == outputs - len(load_.requests)
        assert all(VllmScheduler(load_.requests, load_.limits).accepts(number) for number in range(len(load_.requests)))

    trained = client("train", "-i", "recorded", "-o", "model", environment=environment, cwd=tmp_path, limit=300)
    assert trained.returncode == 0, trained.stderr
    model = load(tmp_path / "model/latency_model.json")
    assert model.overheads is not None
    assert model.overheads != type(model.overheads)()
    assert model.card.split == "configuration"
    assert {recording.name for recording in model.card.recordings} == {f"{name}.csv" for name in document["steps"]}
    assert set(model.card.benchmarks) == {"throughput", "mean TPOT", "mean TTFT", "p99 TTFT"}
    print(ended.stderr, trained.stdout)


def measured(concurrency: int | None) -> int:
    """Requests: eight for each place of the client, 32 at least, and no more than the configuration says."""
    return min(PROMPTS, max(32, 8 * (concurrency or PROMPTS)))
