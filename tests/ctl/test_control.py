"""pause, resume, cancel, reload and drain: what only a daemon can do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from builders import Story, a_finished_story, a_journal, an_unfinished_story

Invoke = Callable[..., Result]
VERBS = ("pause", "resume", "cancel")
COMMANDS = (*((verb,) for verb in VERBS), ("drain",), ("reload", "-c", "config.toml"), ("watch",), ("run",))


@pytest.mark.parametrize("verb", VERBS)
def test_without_a_number_the_run_under_way_is_meant(invoke: Invoke, daemon: Callable[..., Any], verb: str) -> None:
    answering = daemon(a_finished_story(), an_unfinished_story(Story(run=2)), Story(run=3).submitted())
    document = answering.answer("GET", "/v1/runs/2", {})[1] | {"status": "changed"}
    answering.answers[f"POST /v1/runs/2/{verb}"] = (200, document)
    result = invoke(verb, "--reason", "lunch")
    assert (result.exit_code, result.stdout) == (0, "run 2 (overnight): changed\n")
    assert answering.requests[-1] == (f"POST /v1/runs/2/{verb}", {"reason": "lunch"})
    assert json.loads(invoke(verb, "2", "--json").stdout) == document


def test_a_number_and_latest_name_the_run(invoke: Invoke, daemon: Callable[..., Any]) -> None:
    answering = daemon(a_finished_story(), an_unfinished_story(Story(run=2)))
    answering.answers["POST /v1/runs/1/cancel"] = answering.answer("GET", "/v1/runs/1", {})
    answering.answers["POST /v1/runs/2/cancel"] = answering.answer("GET", "/v1/runs/2", {})
    invoke("cancel", "1")
    assert answering.requests[-1][0] == "POST /v1/runs/1/cancel"
    invoke("cancel", "latest")
    assert answering.requests[-1][0] == "POST /v1/runs/2/cancel"


def test_with_nothing_under_way_a_number_is_asked_for(invoke: Invoke, daemon: Callable[..., Any]) -> None:
    daemon(a_finished_story())
    result = invoke("pause")
    assert result.exit_code == 9
    assert "no run is under way" in result.stderr


def test_what_the_daemon_refuses_is_told_in_its_words_with_its_exit_code(
    invoke: Invoke, daemon: Callable[..., Any]
) -> None:
    answering = daemon()
    refusal = {"message": "run 1 is over", "hint": "start a new one", "exit_code": 10}
    answering.answers["POST /v1/runs/1/pause"] = (409, {"error": refusal})
    result = invoke("pause", "1")
    assert (result.exit_code, result.stderr) == (10, "error: run 1 is over\nhint: start a new one\n")
    assert json.loads(invoke("pause", "1", "--json").stdout) == {"error": refusal}


def test_reload_sends_the_file_and_shows_what_changed(
    invoke: Invoke, daemon: Callable[..., Any], tmp_path: Path
) -> None:
    answering = daemon(an_unfinished_story())
    answering.answers["POST /v1/runs/1/reconfigure"] = (200, {"changes": {"budget": {"evaluations": 30}}})
    (tmp_path / "new.toml").write_text("iters = 10\n")
    result = invoke("reload", "-c", "new.toml")
    assert (result.exit_code, result.stdout) == (0, 'run 1: budget = {"evaluations":30}\n')
    sent = {"configuration_text": "iters = 10\n", "configuration_path": str(tmp_path / "new.toml")}
    assert answering.requests[-1] == ("POST /v1/runs/1/reconfigure", sent)
    answering.answers["POST /v1/runs/1/reconfigure"] = (200, {"changes": {}})
    assert invoke("reload", "-c", "new.toml").stdout == "run 1: nothing changed\n"


def test_drain_is_asked_of_the_daemon(invoke: Invoke, daemon: Callable[..., Any]) -> None:
    answering = daemon()
    answering.answers["POST /v1/drain"] = (200, {"draining": True})
    assert invoke("drain").stdout.startswith("draining")
    assert json.loads(invoke("drain", "--json").stdout) == {"draining": True}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_without_a_daemon_nothing_is_changed_and_the_exit_code_is_5(
    invoke: Invoke, state: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    a_journal(state, an_unfinished_story())
    (tmp_path / "config.toml").write_text("")
    before = {path: path.read_bytes() for path in state.iterdir()}
    result = invoke(*command)
    assert result.exit_code == 5
    assert result.stderr.startswith(f"error: no daemon answers on {state}/serviceoptd.sock\nhint: ")
    assert result.stdout == ""
    assert {path: path.read_bytes() for path in state.iterdir()} == before
