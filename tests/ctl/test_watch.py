"""run and watch: a run followed to its end."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from rich.console import Console

from builders import (
    SteppingClock,
    Story,
    a_failed_story,
    a_finished_story,
    a_journal,
    an_infeasible_story,
    an_unfinished_story,
    some_metrics,
)
from serviceopt_journal import events as e
from serviceopt_journal.errors import DaemonUnreachable
from serviceopt_journal.store import Journal
from serviceoptctl.connection import Connection
from serviceoptctl.following import follow
from serviceoptctl.from_journal import FromJournal
from serviceoptctl.live import Live
from serviceoptctl.render.live import LiveDisplay, picture

Invoke = Callable[..., Result]


def the_rest(story: Story) -> Iterator[e.Event]:
    """What an unfinished story lacks."""
    yield e.MeasurementFinished(
        run=story.run, particle=3, evaluation=3, measurement=1, attempt=1, metrics=some_metrics(1200), seconds=90.0
    )
    yield from story.stopped()
    yield from story.finished(recommended=3, feasible=True)


def write(state: Path, events: Iterator[e.Event]) -> None:
    with Journal.open(state, clock=SteppingClock(begin=1_772_370_000.0)) as journal:
        for event in events:
            journal.append(event)


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
    process = client("watch", "1")
    assert process.stdout is not None
    answering.wait_for("GET /v1/events/stream")
    write(state, Story(run=2).submitted())  # of another run: not shown
    write(state, iter([e.RunPaused(run=1, reason="lunch"), e.RunResumed(run=1)]))
    first = [process.stdout.readline() for _ in range(2)]
    answering.stop()
    assert process.stderr is not None
    assert process.stderr.readline() == "the daemon does not answer; waiting for it to come back\n"
    write(state, the_rest(story))
    answering.restart()
    out, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    assert [line.split(" ", 1)[1] for line in first] == ["run 1: paused: lunch\n", "run 1: resumed\n"]
    lines = out.splitlines()
    assert lines[0].endswith("measurement 1 (particle 3) finished: 1200 tok/s, TTFT 400 ms, TPOT 35.0 ms")
    assert "run 1: 3 of 8 configurations, 2 measured, 1 failed; best 1200 tok/s" in lines[1]
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
    write(state, the_rest(story))
    out, said = process.communicate(timeout=30)
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


def drawn(state: Path, width: int, **changes: Any) -> str:
    document = FromJournal.open(state).run("latest") | changes
    output = io.StringIO()
    console = Console(file=output, width=width, force_terminal=True, color_system=None)
    console.print(picture(document, 5.0, ["14:02:11 evaluation 2 ready"], ["14:01:07 evaluation 1 failed"], ""))
    return output.getvalue()


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_picture_fits_the_terminal_and_has_everything_in_it(state: Path, width: int) -> None:
    a_journal(state, an_unfinished_story(Story(name="调优 [bold]夜间[/bold]")))
    text = drawn(state, width)
    assert all(len(line) <= width for line in text.splitlines())
    words = " ".join(text.split())
    for part in (
        "run 1 (调优", "[bold]", "evaluation 3, measuring for 15 s", "MAX_NUM_SEQS=128", "900 tok/s",
        "3 of 8", "left", "14:02:11", "14:01:07",
    ):  # fmt: skip
        assert part in words, part
    assert "service.log" in words
    assert "client.log" in words


def test_the_live_display_keeps_its_picture_when_the_daemon_is_lost(state: Path) -> None:
    a_journal(state, an_unfinished_story())
    document = FromJournal.open(state).run("latest")
    output = io.StringIO()
    console = Console(file=output, width=80, force_terminal=True, color_system=None)
    answers: list[Any] = [document]

    def ask() -> dict[str, Any]:
        if not answers:
            raise DaemonUnreachable("it is gone")
        return dict(answers.pop())

    with LiveDisplay(console) as display:
        display.begin(ask)
        display._live.refresh()
        display.show({"seq": 1, "time": 1.0, "event": {"type": "run_started", "run": 1}})
        display._live.refresh()
        display.say("waiting")
        display._live.refresh()
    last = output.getvalue().rsplit("run ", 1)[-1]
    assert "it is gone" in last
    assert "measuring" in last


def test_on_a_terminal_the_run_is_shown_live(daemon: Callable[..., Any], state: Path) -> None:
    import fcntl
    import pty
    import struct
    import termios

    story = Story()
    daemon(an_unfinished_story(story))
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    environment.pop("COLUMNS", None)
    command = [sys.executable, "-m", "serviceoptctl", "watch"]
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=theirs, env=environment)
    os.close(theirs)
    shown = b""
    while b"measuring for" not in shown:
        shown += os.read(ours, 65536)
    write(state, the_rest(story))
    try:
        while block := os.read(ours, 65536):
            shown += block
    except OSError:  # Linux says EIO when the other side of a pseudo terminal is closed
        pass
    os.close(ours)
    assert process.wait(timeout=30) == 0
    text = shown.decode()
    assert "\x1b[" in text
    assert "3 of 8 configurations" in text
    assert "To deploy it:" in text
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    recommendation = plain[plain.index("objective:") :]
    assert all(len(line) <= 80 for line in recommendation.splitlines() if "vllm serve" not in line)
