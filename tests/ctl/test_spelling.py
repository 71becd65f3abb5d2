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
