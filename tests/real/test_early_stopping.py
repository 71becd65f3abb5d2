"""A real vLLM on the CPU whose own metrics end measurements early. Takes a few minutes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from real.conftest import Sized
from real.tuning import QUIET
from serviceopt_journal import events as e
from serviceoptd.domain.stopping.engine_windows import ARTEFACT
from serviceoptd.predicting.model_file import load
from serviceoptd.simulation.virtual_clock.interface import StepComposition
from stubs.scenario import assert_sound, client, free_port, of_type, places, records, rows

pytestmark = [pytest.mark.real, pytest.mark.timeout(3600)]

LIMIT = 0.001  # seconds to the first token: nothing keeps that, so the search looks for what misses it least

CONFIGURATION = """
budget = 6
n_particles = 6
iters = 1
seed = 5
ttft_slo = {limit}
ttft_penalty = 1
launch_timeout = 1800

[search]
strategy = "random"

[proof]
measurements = 0

[early_stopping]
interval = 0.5

[measurement]
warm_up_requests = 4

[vllm]
program = "{program}"

[vllm.command]
port = {port}
model = "{model}"
served_model_name = "tiny"
others = "--max-model-len 1024 --enforce-eager --max-num-seqs 8 --dtype {dtype}"

[[vllm.target_field]]
name = "CONCURRENCY"
dtype = "int"
min = 2
max = 64
value = 2

[vllm_benchmark]
program = "{program}"

[vllm_benchmark.command]
port = {port}
model = "{model}"
served_model_name = "tiny"
dataset_name = "random"
num_prompts = {prompts}
others = "--random-input-len 64 --random-output-len {output} --ignore-eos"
"""

SIMULATED = """
[simulated]
model = "model/latency_model.json"
input_tokens = 64
output_tokens = {output}
[simulated.limits]
max_num_batched_tokens = 2048
block_size = 128
"""


def test_loads_that_miss_the_limit_by_more_than_the_best_are_ended_early(
    real_engines: Path, sized: Sized, tmp_path: Path
) -> None:
    shape = sized.shape("early stopping")
    file = tmp_path / "config.toml"
    file.write_text(
        CONFIGURATION.format(
            limit=LIMIT, program=real_engines / "vllm/bin/vllm", model=real_engines / sized.model, port=free_port(),
            prompts=shape.prompts, output=shape.output, dtype=sized.dtype,
        )
    )  # fmt: skip
    environment = {**places(tmp_path), **QUIET}
    ended = client(
        "run", "--standalone", "-e", "vllm", "-b", "vllm_benchmark", "-c", str(file), environment=environment,
        limit=3600, cwd=tmp_path,
    )  # fmt: skip
    recorded = records(tmp_path / "state")
    finished = of_type(recorded, e.MeasurementFinished)
    rejected = of_type(recorded, e.MeasurementRejected)
    assert len(finished) + len(rejected) == 6, ended.stderr
    assert not any(event.remark for event in finished)

    for event in finished:
        assert event.served is not None
        # The same requests, counted at both ends: not equal, since each has its own clock and moments, but alike.
        assert 0.2 < event.served.ttft["mean"] / event.metrics.ttft["mean"] < 2.0
        assert event.served.completed <= shape.prompts
    assert rejected, "nothing was ended early"
    for event in rejected:
        assert event.statistic == "ttft mean"
        assert event.bound is not None
        assert event.bound > LIMIT
        assert event.observed is not None
        assert event.observed.completed < shape.prompts

    assert len(of_type(recorded, e.ServiceLaunching)) == 1, "the service should have survived"
    assert not of_type(recorded, e.ServiceFailed)
    assert_sound(recorded)
    listed = rows(client("export", environment=environment).stdout)
    partial = [row for row in listed if "ended early" in row["error"]]
    assert len(partial) == len(rejected)
    assert all(row["real_evaluation"] == "true" and row["feasible"] == "false" for row in partial)

    assert all(ARTEFACT in event.artefacts for event in finished), "a measurement left no windows of its steps"
    trained = client("train", "--journal", "-o", str(tmp_path / "model"), "--json", environment=environment)
    assert trained.returncode == 0, trained.stderr
    card = json.loads(trained.stdout)["card"]
    print(card["windows"], card["windowed"])
    # one configuration alone, so other loads are asked about; the model is not meant to be good, but to be one
    assert card["split"] == "run"
    assert len(card["windowed"]) >= len(finished)
    assert card["windows"]["median"] < 0.5
    assert load(tmp_path / "model/latency_model.json").model.step_seconds(StepComposition(0, 0, 0, 8, 640)) > 0

    (tmp_path / "simulated.toml").write_text(SIMULATED.format(output=shape.output))
    compared = client("trust", "-c", "simulated.toml", "--json", environment=environment, cwd=tmp_path)
    assert compared.returncode == 0, compared.stderr
    document = json.loads(compared.stdout)
    assert document["simulated"] is False
    assert len(document["points"]) == len(finished)
    errors = {line["reading"]: line for line in document["errors"]}
    assert set(errors) >= {"generate_speed", "ttft mean", "ttft p99", "tpot mean"}
    # it was trained on these very measurements, by windows alone and without what surrounds the engine
    assert errors["generate_speed"]["median"] < 1.0
    print(client("trust", "-c", "simulated.toml", environment=environment, cwd=tmp_path).stdout)
