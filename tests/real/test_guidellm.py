"""The real GuideLLM: against its own mock server, which fails on order, and against a real vLLM on the CPU."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from real.conftest import Sized
from real.tuning import QUIET, wait_until_healthy
from serviceopt_journal import events as e
from serviceopt_journal.codec import Recorded
from stubs.scenario import assert_sound, client, free_port, of_type, places, records, rows

pytestmark = [pytest.mark.real, pytest.mark.timeout(2400)]

LOAD_OF_A_SERVICE = """
engine = "command"
benchmark = "guidellm"
n_particles = 3
iters = 1
seed = 4

[proof]
measurements = 0

[measurement]
warm_up_requests = 4

[command]
manage_lifecycle = false

[command.service]
argv = ["true"]
port = {port}
ready_url = "/health"

[[command.target_field]]
name = "CONCURRENCY"
dtype = "enum"
dtype_param = [1, 4, 16]
value = 4

[guidellm]
program = "{program}"

[guidellm.command]
port = {port}
model = "{model}"
served_model_name = "tiny"
num_prompts = 24
data = {{ kind = "synthetic_text", prompt_tokens = 32, output_tokens = 16 }}
"""

TUNED_VLLM = """
engine = "vllm"
benchmark = "guidellm"
n_particles = {configurations}
iters = 1
seed = 4
tpot_slo = "p95:60.0"
launch_timeout = 600
measurement_timeout = 600

[proof]
measurements = 0

[measurement]
repeats = {repeats}
warm_up_requests = 4

[vllm]
program = "{vllm}"

[vllm.command]
port = {port}
model = "{model}"
served_model_name = "tiny"
others = "--max-model-len 1024 --enforce-eager --dtype {dtype}"

[[vllm.target_field]]
name = "MAX_NUM_SEQS"
dtype = "enum"
dtype_param = [4, 16]
value = 4

[[vllm.target_field]]
name = "CONCURRENCY"
dtype = "enum"
dtype_param = [4, 16]
value = 16

[guidellm]
program = "{program}"

[guidellm.command]
port = {port}
model = "{model}"
served_model_name = "tiny"
request_format = "/v1/completions"
num_prompts = {prompts}
data = {{ kind = "synthetic_text", prompt_tokens = 64, output_tokens = {output} }}
"""


@pytest.fixture(scope="session")
def guidellm(real_engines: Path) -> Path:
    program = real_engines / "guidellm/bin/guidellm"
    if not program.exists():
        pytest.skip(f"{program} is not there: run tests/real/install_guidellm.sh {real_engines}")
    return program


@contextmanager
def mock_server(guidellm: Path, directory: Path, *more: str) -> Iterator[int]:
    """GuideLLM's own mock of an engine, on the port that is given."""
    port = free_port()
    with (directory / "mock.log").open("wb") as log:
        service = subprocess.Popen(
            [
                str(guidellm), "mock-server", "--host", "127.0.0.1", "--port", str(port), "--model", "tiny",
                "--ttft-ms", "40", "--itl-ms", "4", "--output-tokens", "16", *more,
            ],
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        wait_until_healthy(port, service, limit=120)
        yield port
    finally:
        service.terminate()
        service.wait(timeout=30)


def tuned(tmp_path: Path, text: str) -> tuple[Any, list[Recorded], list[dict[str, str]]]:
    """Runs this configuration to its end: the process, the events, the rows of the CSV."""
    path = tmp_path / "config.toml"
    path.write_text(text)
    environment = {**places(tmp_path), **QUIET}
    ended = client("run", "--standalone", "-c", str(path), environment=environment, limit=2400, cwd=tmp_path)
    return ended, records(tmp_path / "state"), rows(client("export", environment=environment).stdout)


def test_the_load_of_a_mock_server_is_tuned_and_its_latencies_are_read_in_seconds(
    guidellm: Path, real_engines: Path, tmp_path: Path
) -> None:
    with mock_server(guidellm, tmp_path) as port:
        model = real_engines / "model-88m"
        ended, recorded, table = tuned(tmp_path, LOAD_OF_A_SERVICE.format(port=port, model=model, program=guidellm))
    assert ended.returncode == 0, ended.stderr
    assert_sound(recorded)
    assert sorted(row["CONCURRENCY"] for row in table) == ["1", "16", "4"]
    for event in of_type(recorded, e.MeasurementFinished):
        metrics = event.metrics
        assert (metrics.completed, metrics.failed) == (24, 0)
        # the mock server waits 40 ms for the first token and 4 ms for each of the others
        assert 0.035 < metrics.ttft["p50"] < 0.4
        assert 0.003 < metrics.tpot["p50"] < 0.04
        assert metrics.e2el["p50"] > metrics.ttft["p50"]
        assert metrics.output_tokens == 24 * 16
        assert metrics.generate_speed == pytest.approx(metrics.output_tokens / metrics.duration)
    speed = {row["CONCURRENCY"]: float(row["generate_speed"]) for row in table}
    assert speed["16"] > 2 * speed["1"]


def test_requests_that_fail_are_counted_and_a_load_that_fails_altogether_is_not_believed(
    guidellm: Path, real_engines: Path, tmp_path: Path
) -> None:
    with mock_server(guidellm, tmp_path, "--fail-after-requests", "40") as port:
        model = real_engines / "model-88m"
        ended, recorded, table = tuned(tmp_path, LOAD_OF_A_SERVICE.format(port=port, model=model, program=guidellm))
    assert_sound(recorded)
    assert table[0]["error"] == ""
    assert "requests failed" in table[1]["error"]
    assert 0 < float(table[1]["success_rate"]) < 0.99
    assert "none of 24 requests completed" in table[2]["error"]
    assert "500" in table[2]["error"]
    assert [row["feasible"] for row in table] == ["true", "false", "false"]
    assert ended.returncode == 0, "one of them was measured"


def test_a_service_that_is_not_there_is_told(guidellm: Path, real_engines: Path, tmp_path: Path) -> None:
    """Started by hand, as the daemon would: the client ends with exit status 1 and no result."""
    from serviceoptd.benchmarks.guidellm.client import GuidellmBenchmark
    from serviceoptd.contract.orders import a_measurement_order, a_workplace, an_outcome
    from serviceoptd.toolkit.interface import UnusableResult

    command = {
        "port": free_port(),
        "model": str(real_engines / "model-88m"),
        "served_model_name": "m",
        "num_prompts": 4,
    }
    section = GuidellmBenchmark.section.model_validate({"program": str(guidellm), "command": command})
    benchmark = GuidellmBenchmark(section.model_dump(mode="json"))
    order = a_measurement_order(a_workplace(tmp_path))
    planned = benchmark.plan(order).command
    assert planned is not None
    ended = subprocess.run(planned.argv, capture_output=True, text=True, check=False, env={**places(tmp_path), **QUIET})
    outcome = an_outcome(benchmark, order, exit_status=ended.returncode, output=ended.stdout + ended.stderr)
    with pytest.raises(UnusableResult, match=r"exit status 1.*Error"):
        benchmark.read(outcome)


def test_a_real_vllm_is_tuned_with_guidellm(guidellm: Path, real_engines: Path, sized: Sized, tmp_path: Path) -> None:
    shape = sized.shape("a run with GuideLLM")
    text = TUNED_VLLM.format(
        port=free_port(), model=real_engines / sized.model, program=guidellm, vllm=real_engines / "vllm/bin/vllm",
        dtype=sized.dtype, configurations=shape.configurations, repeats=shape.repeats, prompts=shape.prompts,
        output=shape.output,
    )  # fmt: skip
    ended, recorded, table = tuned(tmp_path, text)
    assert ended.returncode == 0, ended.stderr
    assert_sound(recorded)
    measurements = of_type(recorded, e.MeasurementFinished)
    assert len(measurements) == shape.configurations * shape.repeats
    assert not any(event.simulated for event in measurements)
    for event in measurements:
        assert (event.metrics.completed, event.metrics.failed) == (shape.prompts, 0)
        assert event.metrics.output_tokens == shape.prompts * shape.output
        assert 0 < event.metrics.tpot["p95"] <= 60.0
    assert all(row["source"] == "measured" and row["repeats"] == str(shape.repeats) for row in table)
