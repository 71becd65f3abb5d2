"""run and watch: a run followed to its end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from builders import (
    Story,
    a_failed_story,
    a_finished_story,
    an_infeasible_story,
    an_unfinished_story,
    go_on,
    the_rest,
)
from patience import HANG
from serviceopt_journal import events as e
from serviceopt_journal.errors import DaemonUnreachable
from serviceoptctl.connection import Connection
from serviceoptctl.following import follow
from serviceoptctl.live import Live

Invoke = Callable[..., Result]


def client(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "serviceoptctl", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))


@pytest.mark.parametrize(
    ("story", "code"),
    [(a_finished_story, 0), (an_infeasible_story, 11), (a_failed_story, 12)],
    ids=lambda p: str(p)[:30],
)
def test_the_exit_code_tells_how_the_run_ended(
    invoke: Invoke, daemon: Callable[..., Any], story: Callable[[], Iterator[e.Event]], code: int
) -> None:
    daemon(story())
    assert invoke("watch").exit_code == code
    assert invoke("watch", "1", "--json").exit_code == code


def test_a_cancelled_run_ends_with_130(invoke: Invoke, daemon: Callable[..., Any]) -> None:
    story = Story()

    def cancelled() -> Iterator[e.Event]:
        yield from an_unfinished_story(story)
        yield e.RunCancelRequested(run=1, reason="lunch")
        yield from story.finished("cancelled")

    daemon(cancelled())
    result = invoke("watch")
    assert result.exit_code == 130
    assert "run 1 is over: cancelled" in result.stderr


def test_watching_shows_each_event_once_and_then_the_recommendation_across_a_restart(
    daemon: Callable[..., Any], state: Path
) -> None:
    story = Story()
    answering = daemon(an_unfinished_story(story))
    process = client("watch", "1", "-v")
    assert process.stdout is not None
    answering.wait_for("GET /v1/events/stream")
    go_on(state, Story(run=2).submitted())  # of another run: not shown
    go_on(state, iter([e.RunPaused(run=1, reason="lunch"), e.RunResumed(run=1)]))
    first = [process.stdout.readline() for _ in range(2)]
    answering.stop()
    assert process.stderr is not None
    assert process.stderr.readline() == "the daemon does not answer; waiting for it to come back\n"
    go_on(state, the_rest(story))
    answering.restart()
    out, said = process.communicate(timeout=HANG)
    assert process.returncode == 0, said
    assert [line.split(" ", 1)[1] for line in first] == ["run 1: paused: lunch\n", "run 1: resumed\n"]
    lines = out.splitlines()
    assert lines[0].endswith("measurement 1 (particle 3) finished: 1200 tok/s, TTFT 400 ms, TPOT 35.0 ms")
    # The document is asked for when the line is written: the run may be over by then.
    assert re.search(r"run 1: 3 of 8 configurations, 2 measured, 1 failed; best (so far )?1200 tok/s", lines[1])
    assert lines[2].endswith("completed: budget used (8 configurations); particle 3 recommended")
    assert "parameters:       MAX_NUM_SEQS = 128" in lines
    assert said.splitlines() == [
        "the daemon is back",
        "run 1 is over: completed, budget used (8 configurations)",
    ]


def test_watching_with_json_prints_records_and_finally_the_recommendation(
    daemon: Callable[..., Any], state: Path
) -> None:
    story = Story()
    answering = daemon(an_unfinished_story(story))
    process = client("watch", "--json")
    answering.wait_for("GET /v1/events/stream")
    go_on(state, the_rest(story))
    out, said = process.communicate(timeout=HANG)
    *records, end = map(json.loads, out.splitlines())
    assert process.returncode == 0, said
    assert [record["event"]["type"] for record in records][-1] == "run_finished"
    assert {record["event"]["run"] for record in records} == {1}
    assert (end["run"], end["outcome"], end["best"]["particle"]) == (1, "completed", 3)
    assert said == ""


def test_a_daemon_that_does_not_come_back_is_unreachable(daemon: Callable[..., Any], state: Path) -> None:
    answering = daemon()
    answering.stop()
    live, said = Live(Connection(state / "serviceoptd.sock")), list[str]()
    with pytest.raises(DaemonUnreachable, match="did not come back"):
        next(follow(live, after=0, say=said.append, patience=0.1))
    assert said == ["the daemon does not answer; waiting for it to come back"]


def test_run_sends_the_configuration_the_environment_and_the_place(
    invoke: Invoke, daemon: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering = daemon()
    answering.answers["POST /v1/runs"] = (
        201, {"run": 2, "continued": False, "complete": False, "warnings": ["pso_top_k: accepted, without effect"]},
    )  # fmt: skip
    (tmp_path / "mine.toml").write_text('name = "调优"\n')
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    result = invoke("run", "-c", "mine.toml", "-e", "vllm", "-b", "vllm_benchmark", "--seed", "7", "--name", "n", "-lb")
    assert result.exit_code == 0
    assert result.stdout == "run 2 submitted\n"
    assert "warning: pso_top_k: accepted, without effect" in result.stderr
    assert "hf_secret" not in result.output
    method, body = answering.requests[-1]
    environment = body.pop("environment")
    assert method == "POST /v1/runs"
    assert (environment["HF_TOKEN"], environment["CUDA_VISIBLE_DEVICES"]) == ("hf_secret", "3")
    assert body == {
        "configuration_text": 'name = "调优"\n', "configuration_path": str(tmp_path / "mine.toml"),
        "engine": "vllm", "benchmark": "vllm_benchmark", "name": "n", "seed": 7, "load_breakpoint": True,
        "backup": False, "deploy_policy": "single", "pd": "competition", "working_directory": str(tmp_path),
    }  # fmt: skip
    assert json.loads(invoke("run", "--json").stdout)["run"] == 2


def test_run_without_a_file_takes_the_one_that_lies_here_or_none(
    invoke: Invoke, daemon: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "absent"))
    answering = daemon()
    answering.answers["POST /v1/runs"] = (201, {"run": 2, "continued": False, "complete": False, "warnings": []})
    invoke("run")
    assert answering.requests[-1][1]["configuration_path"] in (None, "/etc/serviceopt/config.toml")
    (tmp_path / "config.toml").write_text("iters = 2\n")
    invoke("run")
    assert answering.requests[-1][1]["configuration_text"] == "iters = 2\n"


@pytest.mark.parametrize(("content", "said"), [(None, "cannot be read"), (b"a = 1\nb = '\xff'\n", ":2: is not UTF-8")])
def test_a_configuration_that_cannot_be_read_is_named(
    invoke: Invoke, daemon: Callable[..., Any], tmp_path: Path, content: bytes | None, said: str
) -> None:
    answering = daemon()
    if content is not None:
        (tmp_path / "absent.toml").write_bytes(content)
    result = invoke("run", "-c", "absent.toml")
    assert result.exit_code == 3
    assert f"{tmp_path}/absent.toml" in result.stderr
    assert said in result.stderr
    assert not [method for method, _ in answering.requests if method.startswith("POST")]


def test_a_run_that_is_continued_or_complete_is_called_so(invoke: Invoke, daemon: Callable[..., Any]) -> None:
    answering = daemon()
    answer = {"run": 1, "continued": True, "complete": False, "warnings": []}
    answering.answers["POST /v1/runs"] = (201, answer)
    assert invoke("run", "-lb").stdout == "run 1 goes on\n"
    answering.answers["POST /v1/runs"] = (201, answer | {"complete": True})
    assert invoke("run", "-lb").stdout == "run 1 is complete already\n"
    watched = invoke("run", "-lb", "--watch")
    assert watched.exit_code == 0
    assert "parameters:       MAX_NUM_SEQS = 128" in watched.stdout


def test_ctrl_c_ends_the_watching_and_not_the_run(daemon: Callable[..., Any]) -> None:
    answering = daemon(an_unfinished_story())
    process = client("watch")
    answering.wait_for("GET /v1/events/stream")
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=HANG)
    assert (process.returncode, out) == (130, "")
    assert said.strip() == "run 1 goes on; `serviceoptctl watch 1` shows it again"
    assert not [method for method, _ in answering.requests if method.startswith("POST")]


def test_ctrl_c_in_the_foreground_ends_the_run_which_can_be_continued(tmp_path: Path, invoke: Invoke) -> None:
    (tmp_path / "slow.toml").write_text("n_particles = 2\niters = 2\n[simulated]\nmeasurement_seconds = 0.2\n")
    process = client("run", "-v", "--standalone", "-c", "slow.toml", "-e", "simulated", "-b", "simulated")
    assert process.stdout is not None
    assert any("measurement 1 (particle 1) finished" in line for line in process.stdout), "it ended before"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=HANG)
    assert process.returncode == 130, said
    assert "run 1 was interrupted; everything measured is kept, and -lb (--load-breakpoint) goes on with it" in said
    ended = invoke("run", "--standalone", "-lb", "-c", "slow.toml", "-e", "simulated", "-b", "simulated", "--json")
    assert ended.exit_code == 0, ended.output
    records = [json.loads(line) for line in ended.stdout.splitlines()]
    assert (records[-1]["run"], records[-1]["outcome"]) == (1, "completed")
    assert "run_submitted" not in {record["event"]["type"] for record in records[:-1]}


def test_a_reader_that_goes_away_does_not_harm_the_run_in_the_foreground(tmp_path: Path, invoke: Invoke) -> None:
    (tmp_path / "few.toml").write_text("n_particles = 4\niters = 2\n")
    process = client("run", "--standalone", "-c", "few.toml", "-e", "simulated", "-b", "simulated")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr:
        said = process.stderr.read()
    process.wait(timeout=HANG)
    assert "the run was not shown to its end: BrokenPipeError" in said
    assert "Traceback" not in said
    document = json.loads(invoke("show", "--json").stdout)
    assert (document["outcome"], document["admitted"]) == ("completed", 8)
