"""status, runs, show and best: from a daemon, and from the journal when there is none."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import Result

from builders import (
    Story,
    a_failed_story,
    a_finished_story,
    a_journal,
    an_infeasible_story,
    an_unfinished_story,
    some_metrics,
    some_settings,
)
from serviceopt_journal import reader, verification
from serviceopt_journal.codec import Recorded, decode
from serviceopt_journal.documents.particles import Deploy, Recommendation
from serviceopt_journal.errors import ExitCode
from serviceopt_journal.events import RunSubmitted
from serviceopt_journal.reader import JournalReader
from serviceoptctl.connection import Connection
from serviceoptctl.documents import Selection
from serviceoptctl.from_journal import FromJournal
from serviceoptctl.live import Live
from serviceoptctl.render.run import best_label, spent, standing
from serviceoptctl.source import open_source

Invoke = Callable[..., Result]
LOOKING = (
    ("status",), ("runs",), ("show",), ("show", "1"), ("show", "--particles"), ("show", "1", "--particle", "4"), ("best",),
    ("best", "1", "--format", "shell"), ("best", "--format", "env"), ("export",), ("export", "--all"), ("events",),
)  # fmt: skip


def facts(output: str) -> dict[str, str]:
    """The `label:  text` lines of an output."""
    pairs = (line.split(":", 1) for line in output.splitlines() if line and line[0] != " " and ":" in line)
    return {label: text.strip() for label, text in pairs}


@pytest.mark.parametrize("command", [*LOOKING[1:], *((*c, "--json") for c in LOOKING[1:])], ids=" ".join)
def test_the_journal_tells_what_the_daemon_tells(
    invoke: Invoke, daemon: Callable[..., Any], command: tuple[str, ...]
) -> None:
    answering = daemon(a_finished_story(), an_infeasible_story(Story(run=2, name="调优")))
    from_daemon = invoke(*command)
    answering.stop()
    from_journal = invoke(*command)
    assert from_daemon.exit_code == from_journal.exit_code == 0, from_daemon.output
    assert from_daemon.stdout == from_journal.stdout
    assert from_daemon.stdout


def test_both_sources_answer_every_question_with_the_same_document(daemon: Callable[..., Any], state: Path) -> None:
    answering = daemon(a_finished_story(), an_unfinished_story(Story(run=2)))
    live, journal = Live(Connection(state / "serviceoptd.sock")), FromJournal.open(state)
    assert (live.running, journal.running) == (True, False)
    assert {**live.status().told, "daemon": None} == journal.status().told
    assert live.runs() == journal.runs()
    for run in ("1", "2", "latest"):
        assert live.run(run) == journal.run(run)
        assert live.best(run) == journal.best(run)
        assert live.table(run) == journal.table(run)
        assert live.particles(run) == journal.particles(run)
    moment = next(iter(journal.events(Selection(after=20)))).time
    for selection in (
        Selection(), Selection(after=7, until=30), Selection(run=2), Selection(types=("run_started", "run_finished")),
        Selection(newest=3), Selection(since=moment), Selection(since=moment, newest=2, run=1),
    ):  # fmt: skip
        expected = list(journal.events(selection))
        assert list(live.events(selection)) == expected
        assert expected
    assert isinstance(open_source(), Live)
    answering.stop()
    assert isinstance(open_source(), FromJournal)


def test_all_events_come_from_the_daemon_also_when_they_fill_several_answers(
    daemon: Callable[..., Any], state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serviceoptctl.live.PAGE", 7)
    daemon()
    records = list(Live(Connection(state / "serviceoptd.sock")).events(Selection()))
    assert [record.seq for record in records] == list(range(1, len(records) + 1))
    assert len(records) > 21


def test_the_status_of_a_running_daemon_names_it(invoke: Invoke, daemon: Callable[..., Any]) -> None:
    daemon(an_unfinished_story())
    shown = facts(invoke("status").stdout)
    assert shown["daemon"].startswith("running, version 0.1.0, pid 100, since 1970-01-01 ")
    assert shown["run"] == "1 (overnight), running"
    assert shown["progress"] == "3 of 8 configurations, 1 measured, 1 failed"
    assert shown["now"].startswith("evaluation 3, measuring for ")
    assert shown["trying"] == "MAX_NUM_SEQS=128 CONCURRENCY=200"
    assert shown["service log"] == "/srv/state/runs/1/evaluations/3/service.log"
    assert shown["client log"] == "/srv/state/runs/1/evaluations/3/client.log"
    assert shown["best so far"] == "900 tok/s, TTFT 400 ms, TPOT 35.0 ms, every SLO met (particle 1, measured once)"


def test_with_the_daemon_down_the_status_says_so_and_does_not_let_time_pass(invoke: Invoke, state: Path) -> None:
    a_journal(state, an_unfinished_story())
    result = invoke("status")
    shown = facts(result.stdout)
    assert result.exit_code == 0
    assert shown["daemon"] == "not running (read from the journal)"
    assert shown["run"].startswith("1 (overnight), interrupted, goes on when the daemon starts, or in the foreground")
    assert "until" not in shown["time"]
    assert shown["now"] == "evaluation 3, measuring"


def test_an_interrupted_run_is_called_so_wherever_it_is_shown(invoke: Invoke, state: Path) -> None:
    a_journal(state, an_unfinished_story())
    assert invoke("runs").stdout.splitlines()[1].split()[2] == "interrupted"
    for command in ("status", "show"):
        assert "interrupted" in facts(invoke(command).stdout)["run"]
        assert "running," not in invoke(command).stdout


@pytest.mark.parametrize("command", ["status", "runs", "show", "best", "export"])
def test_with_the_daemon_down_the_journal_is_read_and_decoded_once(
    invoke: Invoke, state: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    read: list[bytes] = []

    def counted(body: bytes) -> Recorded:
        read.append(body)
        return decode(body)

    a_journal(state, a_finished_story())
    events = JournalReader.open(state).head().seq
    for module in (reader, verification):
        monkeypatch.setattr(module, "decode", counted)
    assert invoke(command).exit_code == 0
    assert len(read) == events


def test_with_the_daemon_down_nothing_is_told_of_a_damaged_journal(invoke: Invoke, state: Path) -> None:
    a_journal(state, a_finished_story())
    (state / "journal.anchor").unlink()
    for command in ("status", "runs", "show", "best", "events", "export"):
        told = invoke(command)
        assert told.exit_code == ExitCode.JOURNAL_DAMAGED, command
        assert told.stdout == ""


def test_a_run_that_somebody_works_on_is_called_running_wherever_it_is_shown(
    invoke: Invoke, daemon: Callable[..., Any]
) -> None:
    daemon(an_unfinished_story())
    for command in ("runs", "status", "show"):
        shown = invoke(command).stdout
        assert "running" in shown
        assert "interrupted" not in shown


def test_the_time_of_a_run_under_way_says_until_when_and_of_one_that_is_over_nothing(state: Path) -> None:
    a_journal(state, an_unfinished_story(), a_finished_story(Story(run=2)))
    source = FromJournal.open(state)
    under_way, over = source.run("1").document, source.run("2").document
    now = 1_772_366_400.0  # 12:00 in UTC
    left = msgspec.structs.replace(under_way, seconds_left=754.0)
    assert spent(left, now=now).endswith(" used, about 12 min 34 s left, until about 12:12:34")
    assert spent(left, now=now, passed=800.0).endswith(" used, takes longer than estimated")
    far = msgspec.structs.replace(under_way, seconds_left=12 * 3600.0 + 60)
    assert spent(far, now=now).endswith("left, until about 2026-03-02 00:01")
    assert spent(over, now=now).endswith(" used")
    assert "left" not in standing(over, now)
    assert (best_label(under_way), best_label(over)) == ("best so far", "best")


def test_a_socket_that_a_killed_daemon_left_is_no_daemon(
    invoke: Invoke, daemon: Callable[..., Any], state: Path
) -> None:
    daemon().stop()
    assert (state / "serviceoptd.sock").is_socket()
    assert facts(invoke("status").stdout)["daemon"] == "not running (read from the journal)"


def test_without_daemon_and_journal_it_is_told_where_they_were_looked_for(invoke: Invoke, state: Path) -> None:
    for command in LOOKING:
        result = invoke(*command)
        assert result.exit_code == 5
        assert f"no daemon answers on {state}/serviceoptd.sock, and there is no journal in {state}" in result.stderr
        assert "Traceback" not in result.output
    assert not state.exists()


def test_a_run_that_does_not_exist_is_not_found(invoke: Invoke, daemon: Callable[..., Any]) -> None:
    answering = daemon()
    for command in (["show", "7"], ["best", "7"], ["export", "7"], ["show", "1", "--particle", "99"]):
        live = invoke(*command)
        answering.stop()
        journal = invoke(*command)
        answering.restart()
        assert live.exit_code == journal.exit_code == 9
        assert live.stderr == journal.stderr != ""


def test_nothing_measured_is_not_found_and_says_so(invoke: Invoke, state: Path) -> None:
    a_journal(state, a_failed_story())
    result = invoke("best")
    assert result.exit_code == 9
    assert "nothing has been measured in run 1" in result.stderr


def test_the_best_are_parameters_metrics_gain_and_the_exact_command(invoke: Invoke, state: Path) -> None:
    a_journal(state)
    shown = invoke("best").stdout
    assert facts(shown)["parameters"] == "MAX_NUM_SEQS = 128"
    assert facts(shown)["output"] == "1234 tok/s"
    assert facts(shown)["TTFT"] == "mean 800 ms, p50 720 ms, p99 2.00 s"
    assert facts(shown)["gain"] == "+37.2 % over the current setting"
    assert "simulated" not in shown.casefold()
    command = shown.splitlines()[-1].strip()
    assert shlex.split(command) == [
        "ASCEND_RT_VISIBLE_DEVICES=2,3", "MAX_NUM_SEQS=128", "CUDA_VISIBLE_DEVICES=0", "vllm", "serve", "Qwen/Qwen3-8B",
        "--max-num-seqs", "128", "--seed", "a b",
    ]  # fmt: skip
    assert invoke("best", "--format", "shell").stdout.strip() == command
    assert invoke("best", "--format", "env").stdout.splitlines() == [
        "ASCEND_RT_VISIBLE_DEVICES=2,3", "MAX_NUM_SEQS=128", "CUDA_VISIBLE_DEVICES=0",
    ]  # fmt: skip
    assert json.loads(invoke("best", "--format", "json").stdout) == json.loads(invoke("best", "--json").stdout)


def test_simulated_figures_are_called_so_wherever_they_are_shown(invoke: Invoke, state: Path) -> None:
    settings = some_settings(engine="simulated", benchmark="simulated")
    a_journal(state, a_finished_story(Story(simulated=True, settings=settings)))
    best = invoke("best").stdout
    assert best.startswith("SIMULATED")
    assert "# simulated: there is no command" in invoke("best", "--format", "shell").stdout
    for command in LOOKING:
        for line in invoke(*command).stdout.splitlines():
            if "tok/s" in line:
                assert "simulated" in line or "predicted" in line, (command, line)


def test_a_recommendation_that_breaks_an_slo_says_so_first(invoke: Invoke, state: Path) -> None:
    a_journal(state, an_infeasible_story())
    shown = invoke("best").stdout
    assert shown.startswith("No measured configuration meets every SLO")
    assert facts(shown)["SLO"] == "SLO broken: mean TTFT 1.2 s > 1 s"
    assert "gain" not in facts(shown)


def test_the_best_of_a_run_that_is_not_over_is_called_the_best_so_far(invoke: Invoke, state: Path) -> None:
    a_journal(state, an_unfinished_story())
    shown = invoke("best").stdout
    assert shown.startswith("The run is not over: this is the best so far, measured once.")
    assert facts(shown)["current setting"] == "this one: nothing better is known"


def test_a_masked_secret_is_pointed_out_where_the_command_is_to_be_copied() -> None:
    from serviceoptctl.render.recommendation import environment, shell

    document = Recommendation(
        particle=1, configuration={"MAX_NUM_SEQS": 128}, feasible=True, run=1, final=True, objective="",
        deploy=Deploy(argv=("vllm", "serve", "--api-key", "***"), environment={"HF_TOKEN": "***"}),
    )  # fmt: skip
    assert shell(document).splitlines()[0] == "# put the secret in before use: HF_TOKEN, ***"
    assert environment(document).splitlines()[0] == "# put the secret in before use: HF_TOKEN, ***"


def test_every_kind_of_particle_is_listed_with_what_became_of_it(invoke: Invoke, state: Path) -> None:
    a_journal(state)
    lines = invoke("show", "--particles").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["PARTICLE", "1", "2", "3", "4", "5", "6"]
    assert lines[2].endswith("CUDA out of memory: tried to allocate 2.00 GiB")
    assert lines[3].endswith("SLO broken: mean TTFT 1.6 s > 1 s")
    assert lines[5].endswith("as particle 4 of run 1")
    assert lines[6].endswith("memory-bound: needs 84 GiB of 80 GiB")


def test_chinese_names_keep_the_columns_straight(invoke: Invoke, state: Path) -> None:
    a_journal(state, a_finished_story(Story(name="调优 夜间")), a_finished_story(Story(run=2, name="b")))
    header, first, second = invoke("runs").stdout.splitlines()
    assert first.index("completed") + len("调优夜间") == second.index("completed") == header.index("STATUS")


def test_text_of_others_cannot_command_the_terminal(invoke: Invoke, state: Path) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J line\nfaked: yes"
    story = Story(name=evil)

    def told() -> Any:
        yield from story.submitted()
        yield from story.failed(evil, MAX_NUM_SEQS=64, CONCURRENCY=1)
        yield from story.measured(some_metrics(), MAX_NUM_SEQS=65, CONCURRENCY=1)
        yield from story.finished(recommended=2, feasible=True)

    a_journal(state, told())
    for command in LOOKING:
        if command[0] != "export":  # a CSV holds what was said, quoted
            output = invoke(*command).output
            assert "\x1b" not in output, command
            assert "\nfaked:" not in output, command


def test_output_in_a_pipe_has_no_colours_and_no_cut_lines(invoke: Invoke, state: Path) -> None:
    a_journal(state, a_finished_story(Story(name="n" * 200)))
    for command in LOOKING:
        assert "\x1b" not in invoke(*command).output
    assert "n" * 200 in invoke("runs").stdout


def test_a_key_of_a_newer_daemon_is_passed_on_to_programs_and_does_not_disturb_people(
    invoke: Invoke, daemon: Callable[..., Any], state: Path
) -> None:
    answering = daemon()
    told = FromJournal.open(state).run("1").told
    answering.answers["GET /v1/runs/1"] = (200, told | {"mood": "good", "counts": told["counts"] | {"cosy": 3}})
    shown = json.loads(invoke("show", "1", "--json").stdout)
    assert (shown["mood"], shown["counts"]["cosy"]) == ("good", 3)
    assert facts(invoke("show", "1").stdout)["run"] == "1 (overnight)"


def test_a_key_that_an_older_daemon_does_not_know_has_a_default(
    invoke: Invoke, daemon: Callable[..., Any], state: Path
) -> None:
    answering = daemon()
    later = ("imported", "rejections", "expected_gain", "target", "evaluations_left", "confirmations_left")
    told = {key: value for key, value in FromJournal.open(state).run("1").told.items() if key not in later}
    answering.answers["GET /v1/runs/1"] = (200, told)
    result = invoke("show", "1")
    assert (result.exit_code, facts(result.stdout)["run"]) == (0, "1 (overnight)")
    assert json.loads(invoke("show", "1", "--json").stdout) == told


def test_an_answer_of_another_shape_is_an_error_that_names_the_request_and_the_key(
    invoke: Invoke, daemon: Callable[..., Any]
) -> None:
    daemon().answers["GET /v1/runs/1"] = (200, {"run": "one"})
    result = invoke("show", "1")
    assert result.exit_code == 1
    assert (
        "the answer to /v1/runs/1 does not match `serviceoptctl docs api`: Expected `int`, got `str` - at `$.run`"
        in result.stderr
    )
    assert "--version" in result.stderr


@pytest.mark.parametrize("code", [0x9B, 0x202E, 0x2066, 0x200F, 0x61C])
def test_a_name_that_would_turn_a_terminal_is_shown_by_its_code(invoke: Invoke, state: Path, code: int) -> None:
    a_journal(state, a_finished_story(Story(name=f"over{chr(code)}night")))
    for command in ("status", "runs", "show"):
        shown = invoke(command).stdout
        assert chr(code) not in shown
    assert f"x{code:02x}" in shown or f"u{code:04x}" in shown


def test_no_json_is_shown_to_people(invoke: Invoke, state: Path) -> None:
    story = Story()

    def told() -> Any:
        for event in story.submitted():
            if isinstance(event, RunSubmitted):
                yield msgspec.structs.replace(
                    event, identity_parts={"fixed": '{"RATE":0}', "numbers": "{'a': {'b': 1}}"}
                )
            else:
                yield event
        yield from story.measured(some_metrics(), MAX_NUM_SEQS=65, CONCURRENCY=1)
        yield from story.finished(recommended=1, feasible=True)

    a_journal(state, told())
    for command in LOOKING:
        if command[0] != "export":
            assert "{" not in invoke(*command).output, command
    assert "fixed: RATE=0" in invoke("show").stdout
