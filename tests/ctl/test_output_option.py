"""Where answers are written: `-o -` is standard output, and an answer without variables says what to use instead."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import Result

from builders import a_journal
from serviceopt_journal.documents.particles import Deploy, Recommendation
from serviceopt_journal.errors import ExitCode
from serviceoptctl.commands import best
from serviceoptctl.from_journal import FromJournal
from serviceoptctl.program import cli

Invoke = Callable[..., Result]


@pytest.mark.parametrize(
    "command",
    [
        ("export",), ("export", "--json"), ("export", "--events"), ("best", "--format", "env"),
        ("best", "--format", "shell"), ("best", "--format", "json"), ("best",),
    ],
)  # fmt: skip
def test_a_file_that_is_called_a_dash_is_standard_output(invoke: Invoke, state: Path, command: tuple[str, ...]) -> None:
    a_journal(state)
    told = invoke(*command, "-o", "-")
    assert told.exit_code == 0, told.output
    assert told.stdout == invoke(*command).stdout != ""
    assert told.stderr == ""
    assert not Path("-").exists()


@pytest.mark.parametrize("command", [("train", "-i", "steps"), ("profile", "-c", "config.toml")])
def test_several_files_are_not_written_to_standard_output(invoke: Invoke, command: tuple[str, ...]) -> None:
    told = invoke(*command, "-o", "-")
    assert told.exit_code == ExitCode.USAGE
    assert "give a directory" in told.stderr
    assert not Path("-").exists()


def test_every_command_with_an_output_says_what_a_dash_means_to_it() -> None:
    with click.Context(cli) as context:
        commands = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    outputs = {
        name: option for name, command in commands.items() if command is not None for option in command.params
        if "--output" in option.opts
    }  # fmt: skip
    assert outputs.keys() >= {"best", "export", "train", "profile"}
    for name, option in outputs.items():
        assert option.callback is not None, name


def recommended(state: Path, monkeypatch: pytest.MonkeyPatch, deploy: Deploy, **positions: str) -> Recommendation:
    """The recommendation of a run in which MAX_NUM_SEQS lies at `positions`, deployed like that."""
    a_journal(state)
    told = FromJournal.open(state).best("1").document
    changed = Recommendation(
        **{name: getattr(told, name) for name in told.__struct_fields__} | {"deploy": deploy, "positions": positions}
    )
    monkeypatch.setattr(best, "open_source", lambda: _Only(changed))
    return changed


class _Only:
    def __init__(self, document: Recommendation) -> None:
        self._document = document

    def best(self, _run: str) -> _Only:
        return self

    @property
    def document(self) -> Recommendation:
        return self._document


MINDIE = ("/opt/mindie/bin/mindieservice_daemon",)


@pytest.mark.parametrize(
    ("deploy", "positions", "instead"),
    [
        (Deploy(argv=MINDIE, files=("/opt/mindie/config.json",)), {"MAX_NUM_SEQS": "a.b"}, "--format config -o FILE"),
        (Deploy(argv=MINDIE, files=("/a.json", "/b.json")), {"MAX_NUM_SEQS": "a.b"}, "--format config -o DIRECTORY"),
        (Deploy(argv=MINDIE), {"MAX_NUM_SEQS": "a.b"}, "the engine's file holds the recommended values already"),
        (Deploy(argv=("server", "--max-num-seqs", "128")), {}, "--format shell"),
    ],
)
def test_an_answer_without_variables_says_what_to_use_instead(
    invoke: Invoke,
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
    deploy: Deploy,
    positions: dict[str, str],
    instead: str,
) -> None:
    run = recommended(state, monkeypatch, deploy, **positions).run
    for output in ((), ("-o", "variables.env")):
        told = invoke("best", "--format", "env", *output)
        assert told.exit_code == ExitCode.NOT_FOUND
        assert told.stdout == ""
        assert f"of run {run} is deployed without any environment variable" in told.stderr
        assert instead in told.stderr
    assert not Path("variables.env").exists()


def test_what_reaches_a_command_line_alone_is_not_called_a_variable(
    invoke: Invoke, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy = Deploy(argv=("server", "--max-num-seqs", "128"), environment={"HCCL_BUFFSIZE": "200"})
    recommended(state, monkeypatch, deploy)
    assert invoke("best", "--format", "env").stdout == "HCCL_BUFFSIZE=200\n"
    assert invoke("best", "--format", "shell").stdout == "HCCL_BUFFSIZE=200 server --max-num-seqs 128\n"
