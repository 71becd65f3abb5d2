"""Models on disk: what is refused, and what a model needs to be used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from serviceoptd.predicting.model_file import ModelRejected, load, save
from serviceoptd.simulation.schedulers.vllm import VllmScheduler
from serviceoptd.simulation.schedulers.vllm_limits import VllmLimits
from serviceoptd.simulation.step_times.training import train
from serviceoptd.simulation.virtual_clock.arrivals import arrivals
from serviceoptd.simulation.virtual_clock.client_metrics import client_metrics
from serviceoptd.simulation.virtual_clock.lengths import RandomLengths, random_requests
from serviceoptd.simulation.virtual_clock.timeline import simulate
from synthetic_batches import synthetic_profile


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is not a latency model"),
        ('{"latency_model": 1, "trained": {"model": 3}}', "is not a latency model"),
        ('{"latency_model": 2, "trained": {}}', "is a latency model of version 2; this release reads version 1"),
        ('{"objective": "reg:squarederror"}', "is not a latency model"),
        ('{"latency_model": "\xff"}', "is not a latency model"),
        ("[" * 100_000, "is not a latency model"),
    ],
)
def test_a_file_that_is_no_model_is_refused_by_name(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "latency_model.json"
    path.write_bytes(content.encode("latin-1"))  # one of them is no UTF-8
    with pytest.raises(ModelRejected, match=said) as caught:
        load(path)
    assert str(path) in caught.value.message


def test_a_model_is_loaded_and_used_without_the_libraries_that_train_it(tmp_path: Path) -> None:
    path = save(train(synthetic_profile(100), seed=0), tmp_path)
    script = (
        "import sys; from pathlib import Path; from serviceoptd.predicting.model_file import load;"
        "from serviceoptd.simulation.virtual_clock.interface import StepComposition;"
        f"assert load(Path({str(path)!r})).model.step_seconds(StepComposition(0, 0, 0, 8, 800)) > 0;"
        "print(*sys.modules)"
    )
    modules = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert "serviceoptd.simulation.step_times.latency_model" in modules
    assert not {"xgboost", "scipy"} & set(modules)


def test_the_virtual_time_line_runs_on_a_trained_model() -> None:
    model = train(synthetic_profile(100), seed=0).model
    requests = random_requests(arrivals(50, request_rate=8.0), RandomLengths(input_tokens=128, output_tokens=32))
    limits = VllmLimits(max_num_seqs=16, max_num_batched_tokens=512, max_model_len=1024, kv_blocks=1000)
    timeline = simulate(requests, VllmScheduler(requests, limits), model, concurrency=16)
    assert client_metrics(requests, timeline).completed == 50
