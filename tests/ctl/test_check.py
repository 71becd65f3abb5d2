"""`serviceoptctl check` and `serviceoptctl doctor`, as their user sees them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from serviceopt_journal.errors import ExitCode

Invoke = Callable[..., Result]
ROOT = Path(__file__).parents[2]
DEFAULT = ROOT / "tests" / "daemon" / "config" / "msserviceprofiler-default.toml"
VLLM = str(ROOT / "docs" / "examples" / "vllm.toml")
DEMO = str(ROOT / "docs" / "examples" / "demo.toml")


def placeholders(result: Result) -> list[str]:
    assert result.exit_code == ExitCode.CONFIGURATION
    return [line.split(": ")[1] for line in result.stdout.splitlines()]


VLLM_PLACEHOLDERS = [
    "vllm_benchmark.command.port",
    "vllm_benchmark.command.model",
    "vllm_benchmark.command.served_model_name",
    "vllm_benchmark.command.dataset_name",
    "vllm.command.port",
    "vllm.command.model",
    "vllm.command.served_model_name",
]


def test_the_predecessors_file_is_told_its_placeholders_and_nothing_else(invoke: Invoke) -> None:
    result = invoke("check", "-c", str(DEFAULT))
    assert placeholders(result) == ["ais_bench.command.models", "ais_bench.command.datasets", *VLLM_PLACEHOLDERS]
    assert result.stderr == ""


def test_with_an_engine_and_a_client_only_theirs_are_told(invoke: Invoke) -> None:
    result = invoke("check", "-c", str(DEFAULT), "-e", "vllm", "-b", "vllm_benchmark")
    assert placeholders(result) == VLLM_PLACEHOLDERS
    first = result.stdout.splitlines()[0]
    line = DEFAULT.read_text().splitlines().index('port = "port"') + 1
    assert first.startswith(f'{DEFAULT}:{line}: vllm_benchmark.command.port: is still the placeholder "port"; give ')


def test_placeholders_are_json_on_request(invoke: Invoke) -> None:
    result = invoke("check", "-c", str(DEFAULT), "-e", "vllm", "--json")
    document = json.loads(result.stdout)
    assert [problem["key"] for problem in document["problems"]] == VLLM_PLACEHOLDERS
    assert document["exit_code"] == result.exit_code == ExitCode.CONFIGURATION


def test_every_error_of_a_file_is_told_at_once(invoke: Invoke, tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text("n_particles = 0\nitters = 3\nttft_slo = -1\n")
    result = invoke("check", "-c", str(path))
    assert result.exit_code == ExitCode.CONFIGURATION
    for line, key in ((1, "n_particles"), (2, "itters"), (3, "ttft_slo")):
        assert f"{path}:{line}: {key}: " in result.stderr
    assert "Traceback" not in result.output


def test_a_good_file_is_summed_up(invoke: Invoke) -> None:
    result = invoke("check", "-c", VLLM)
    assert result.exit_code == ExitCode.OK
    for text in (
        "MAX_NUM_SEQS",
        "32..512",
        "restarts the service",
        "75 configurations",
        "vllm_benchmark",
        "3 dimensions",
    ):
        assert text in result.stdout
    assert "would start" not in result.stdout


def test_a_dry_run_shows_the_commands_and_makes_nothing(invoke: Invoke, tmp_path: Path, state: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    result = invoke("check", "-c", VLLM, "--dry-run")
    assert result.exit_code == ExitCode.OK
    assert (
        "vllm serve /srv/models/your-model --served-model-name your-model --host 127.0.0.1 --port 8000" in result.stdout
    )
    assert "ready when GET http://127.0.0.1:8000/health answers 200" in result.stdout
    assert f"--result-dir {state}/runs/N/evaluation-1/measurement-1" in result.stdout
    assert sorted(tmp_path.rglob("*")) == before


def test_a_dry_run_as_json_has_the_same_commands(invoke: Invoke) -> None:
    document = json.loads(invoke("check", "-c", VLLM, "--dry-run", "--json").stdout)
    assert [command["role"] for command in document["commands"]] == ["service", "client"]
    assert document["commands"][0]["argv"][:3] == ["vllm", "serve", "/srv/models/your-model"]
    assert json.loads(invoke("check", "-c", VLLM, "--json").stdout)["commands"] is None


def test_the_embedded_engine_starts_nothing(invoke: Invoke) -> None:
    result = invoke("check", "-c", DEMO, "--dry-run")
    assert result.exit_code == ExitCode.OK
    assert "nothing: it runs in process" in result.stdout


def test_the_search_path_is_used_where_no_file_is_named(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("n_particles = 7\niters = 3\nengine = 'simulated'\n")
    result = invoke("check")
    assert f"{tmp_path}/config.toml" in result.stdout
    assert "21 configurations" in result.stdout


def test_the_doctor_finds_this_machine_fit_for_the_embedded_engine(invoke: Invoke, state: Path) -> None:
    result = invoke("doctor", "-c", DEMO)
    assert result.exit_code == ExitCode.OK, result.output
    assert "0 failed" in result.stdout
    assert not state.exists()


@pytest.mark.parametrize("as_json", [False, True])
def test_the_doctor_fails_where_the_program_and_the_model_are_absent(
    invoke: Invoke, as_json: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = invoke("doctor", "-c", VLLM, *(["--json"] if as_json else []))
    assert result.exit_code == ExitCode.ENVIRONMENT
    if as_json:
        failed = [each for each in json.loads(result.stdout)["findings"] if each["level"] == "fail"]
        assert any("/srv/models/your-model" in each["message"] for each in failed)
        assert all(each["hint"] for each in failed)
    else:
        assert "fail  service program: program 'vllm' is not on the PATH" in result.stdout
