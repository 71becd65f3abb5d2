"""The manual's spelling of short options: `-e=vllm` is `-e vllm`, for every command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import Result

from serviceoptctl.program import COMMANDS, cli
from serviceoptctl.spelling import spelled_out

Invoke = Callable[..., Result]


def commands() -> list[click.Command]:
    found = [cli.get_command(click.Context(cli), name) for name in COMMANDS]
    assert None not in found
    return [command for command in found if command is not None]


def the(name: str) -> click.Command:
    return next(command for command in commands() if command.name == name)


def short_options() -> list[tuple[click.Command, str]]:
    """Every short option that takes a value, of every command."""
    return [
        (command, name)
        for command in commands()
        for option in command.params
        if isinstance(option, click.Option) and not option.is_flag
        for name in option.opts
        if not name.startswith("--")
    ]


@pytest.mark.parametrize(("command", "name"), short_options(), ids=lambda given: getattr(given, "name", given))
def test_every_short_option_takes_its_value_behind_an_equals_sign(command: click.Command, name: str) -> None:
    assert spelled_out(command, [f"{name}=a=b"]) == [name, "a=b"]
    assert spelled_out(command, [name, "value", f"{name}=other"]) == [name, "value", name, "other"]


def parsed(command: click.Command, arguments: list[str]) -> dict[str, Any]:
    given, _, _ = command.make_parser(click.Context(command, help_option_names=["-h", "--help"])).parse_args(
        spelled_out(command, arguments)
    )
    return dict(given)


@pytest.mark.parametrize(("command", "name"), short_options(), ids=lambda given: getattr(given, "name", given))
def test_every_form_of_an_option_and_its_value_means_the_same(command: click.Command, name: str) -> None:
    option = next(option for option in command.params if name in option.opts)
    long = next(other for other in option.opts if other.startswith("--"))
    forms = ([name, "/a=b"], [f"{name}/a=b"], [f"{name}=/a=b"], [long, "/a=b"], [f"{long}=/a=b"])
    (meant,) = {str(parsed(command, form)) for form in forms}
    assert "/a=b" in meant


@pytest.mark.parametrize("arguments", [["-fn=3"], ["-f", "-n=3"], ["-fn3"], ["-fn", "3"]])
def test_an_option_may_share_its_dash_with_flags(arguments: list[str]) -> None:
    assert parsed(the("events"), arguments) == {"following": True, "lines": "3"}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("train", ["-i="]), ("train", ["-i", ""]), ("train", ["--input="]), ("train", ["--input", "", "-t=vllm"]),
        ("events", ["--since", ""]), ("optimizer", ["-e=", "-b=vllm_benchmark"]), ("check", ["-c="]),
        ("best", ["-o", ""]),
    ],
)  # fmt: skip
def test_an_empty_value_is_refused_and_not_taken_for_this_directory(
    invoke: Invoke, name: str, arguments: list[str]
) -> None:
    result = invoke(name, *arguments)
    assert result.exit_code == 2
    option = arguments[0].partition("=")[0]
    assert result.stderr.startswith(f"error: Option '{option}' needs a value, and what it is given is empty.")


def test_the_manuals_own_command_line_is_understood(invoke: Invoke, daemon: Callable[..., Any]) -> None:
    answering = daemon()
    answering.answers["POST /v1/runs"] = (201, {"run": 1, "continued": False, "complete": False, "warnings": []})
    result = invoke("optimizer", "-lb", "-d=single", "--backup", "-b=vllm_benchmark", "-e=vllm", "--pd=competition")
    assert result.exit_code == 0, result.output
    sent = next(body for method, body in answering.requests if method == "POST /v1/runs")
    assert (sent["engine"], sent["benchmark"], sent["load_breakpoint"], sent["backup"]) == (
        "vllm", "vllm_benchmark", True, True
    )  # fmt: skip


def test_train_reads_the_directory_behind_the_equals_sign(invoke: Invoke, tmp_path: Path) -> None:
    result = invoke("train", f"-i={tmp_path / 'nothing'}", "-t=vllm")
    assert result.exit_code == 3
    assert result.stderr.startswith(f"error: {tmp_path / 'nothing'}: is not a directory")


def test_the_value_of_an_option_and_what_follows_two_dashes_stay_as_they_are() -> None:
    command = click.Command("any", params=[click.Option(["-m", "--message"]), click.Option(["-q"], is_flag=True)])
    assert spelled_out(command, ["-m", "-m=x", "-q=1", "--message=-m=y", "--", "-m=z"]) == [
        "-m", "-m=x", "-q=1", "--message=-m=y", "--", "-m=z"
    ]  # fmt: skip
