"""optimizer: the predecessor's command line."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from builders import Story, a_finished_story, an_infeasible_story, some_settings

Invoke = Callable[..., Result]
VLLM = ("-e", "vllm", "-b", "vllm_benchmark")
ACCEPTED = {"run": 1, "continued": False, "complete": False, "warnings": []}


@pytest.fixture
def submitted(invoke: Invoke, daemon: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    """The submission that an `optimizer` command sends."""
    answering = daemon()
    answering.answers["POST /v1/runs"] = (201, ACCEPTED)

    def submit(*arguments: str) -> dict[str, Any]:
        result = invoke("optimizer", *arguments)
        assert result.exit_code == 0, result.output
        return dict(next(body for method, body in reversed(answering.requests) if method == "POST /v1/runs"))

    return submit


@pytest.mark.parametrize("flag", ["-lb", "--load_breakpoint", "--load-breakpoint"])
def test_every_spelling_of_load_breakpoint_is_accepted(submitted: Callable[..., dict[str, Any]], flag: str) -> None:
    assert submitted(*VLLM, flag)["load_breakpoint"] is True
    assert submitted(*VLLM)["load_breakpoint"] is False


@pytest.mark.parametrize(
    ("arguments", "backup"),
    [
        ((), False), (("--backup",), True), (("--backup", "True"), True), (("--backup", "False"), False),
        (("--backup", "true"), True), (("--backup=False",), False), (("--backup", "-lb"), True),
    ],
)  # fmt: skip
def test_backup_is_a_flag_and_takes_true_or_false_too(
    submitted: Callable[..., dict[str, Any]], arguments: tuple[str, ...], backup: bool
) -> None:
    assert submitted(*VLLM, *arguments)["backup"] is backup


@pytest.mark.parametrize("option", ["-b", "--benchmark_policy", "--benchmark-policy"])
def test_every_spelling_of_the_benchmark_policy_is_accepted(
    submitted: Callable[..., dict[str, Any]], option: str
) -> None:
    body = submitted("--engine", "vllm", option, "vllm_benchmark", "-d", "single", "--deploy_policy", "single",
                     "--deploy-policy", "single", "--pd", "competition")  # fmt: skip
    assert (body["engine"], body["benchmark"]) == ("vllm", "vllm_benchmark")
    assert (body["deploy_policy"], body["pd"]) == ("single", "competition")


def test_the_log_level_goes_with_the_environment(submitted: Callable[..., dict[str, Any]]) -> None:
    assert submitted(*VLLM, "--log-level", "warning")["environment"]["MODELEVALSTATE_LEVEL"] == "WARNING"
    assert submitted(*VLLM, "-v")["environment"]["MODELEVALSTATE_LEVEL"] == "DEBUG"
    assert "MODELEVALSTATE_LEVEL" not in submitted(*VLLM)["environment"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*VLLM, "-d", "multiple"), "`-d multiple` (several machines) comes with a later release"),
        ((*VLLM, "--deploy-policy", "multiple"), "`-d multiple`"),
    ],
)
def test_what_comes_later_is_refused_in_one_sentence_that_names_the_option(
    invoke: Invoke, arguments: tuple[str, ...], said: str, state: Path
) -> None:
    result = invoke("optimizer", *arguments)
    assert result.exit_code == 3
    assert result.stderr.startswith("error: " + said)
    assert len(result.stderr.splitlines()) == 1
    assert not state.exists()


def test_the_results_are_written_where_the_predecessor_wrote_them(
    invoke: Invoke, daemon: Callable[..., Any], tmp_path: Path
) -> None:
    story = Story(settings=some_settings(store_dir="elsewhere/store"))
    answering = daemon(a_finished_story(story))
    answering.answers["POST /v1/runs"] = (201, ACCEPTED)
    result = invoke("optimizer", *VLLM)
    assert result.exit_code == 0
    (written,) = (tmp_path / "elsewhere" / "store").iterdir()
    assert re.fullmatch(r"data_storage_\d{8}_\d{6}\.csv", written.name)
    assert f"every result is in elsewhere/store/{written.name}" in result.stderr
    with written.open(newline="") as stream:
        assert [row["particle"] for row in csv.DictReader(stream)] == ["1", "2", "3", "4", "6"]
    assert "To deploy it" in result.stdout


def test_an_infeasible_end_has_its_exit_code_and_its_results_all_the_same(
    invoke: Invoke, daemon: Callable[..., Any], tmp_path: Path
) -> None:
    answering = daemon(an_infeasible_story())
    answering.answers["POST /v1/runs"] = (201, ACCEPTED)
    assert invoke("optimizer", *VLLM).exit_code == 11
    assert len(list((tmp_path / "result" / "store").iterdir())) == 1


def test_without_a_daemon_the_tuning_is_done_here_and_it_is_said(invoke: Invoke, state: Path, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("n_particles = 2\niters = 2\n")
    result = invoke("optimizer", "-e", "simulated", "-b", "simulated")
    assert result.exit_code == 0, result.output
    assert "no daemon answers: tuning here, in the foreground (--daemon forbids that)" in result.stderr
    assert "SIMULATED" in result.stdout
    (written,) = (tmp_path / "result" / "store").iterdir()
    assert len(written.read_text().splitlines()) == 5
    assert invoke("journal", "verify").exit_code == 0
    assert "last run:  1, completed after" in invoke("status").stdout


def test_standalone_and_quiet_shows_the_recommendation_and_nothing_before_it(
    invoke: Invoke, state: Path, tmp_path: Path
) -> None:
    (tmp_path / "config.toml").write_text("n_particles = 2\niters = 2\n")
    result = invoke("optimizer", "-e", "simulated", "-b", "simulated", "--standalone", "-q")
    assert result.exit_code == 0, result.output
    assert result.stdout.strip().startswith("SIMULATED")
    again = invoke("optimizer", "-e", "simulated", "-b", "simulated", "--standalone", "-q", "-lb")
    assert again.exit_code == 0, again.output
    assert again.stdout == result.stdout


def test_daemon_forbids_the_foreground(invoke: Invoke, state: Path) -> None:
    result = invoke("optimizer", *VLLM, "--daemon")
    assert result.exit_code == 5
    assert not state.exists()
    assert invoke("optimizer", *VLLM, "--daemon", "--standalone").exit_code == 2


def test_an_unknown_engine_lists_those_that_are_installed(invoke: Invoke, state: Path) -> None:
    result = invoke("optimizer", "-e", "vlllm", "-b", "vllm_benchmark", "--standalone")
    assert result.exit_code == 3
    assert "vlllm" in result.stderr
    for name in ("vllm", "simulated", "command"):
        assert name in result.stderr
    assert not state.exists()


def test_the_help_lists_engines_and_clients_of_third_parties_too(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serviceoptctl.options.installed", lambda group: [f"third_party_{group}"])
    for command in ("optimizer", "run"):
        shown = " ".join(invoke(command, "--help").stdout.split())
        assert "[installed: third_party_engines]" in shown
        assert "[installed: third_party_benchmarks]" in shown
