"""The command line as a whole."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import click
import pytest

from builders import a_finished_story, a_journal
from serviceoptctl.program import COMMANDS, SECTIONS, cli

HEAVY = {
    "numpy",
    "pandas",
    "xgboost",
    "pydantic",
    "sqlite_utils",
    "asyncio",
    "rich",
    "sqlite3",
    "json",
    "importlib.metadata",
}
BY_THE_LIBRARIES = "import sys, click, msgspec; print(*sys.modules)"
MODULES_AFTER = """
import sys
from serviceoptctl.program import cli
try:
    cli.main(sys.argv[1:])
except SystemExit as ended:
    code = ended.code
print("IMPORTED", code, *sys.modules)
"""


def imported_by(*arguments: str) -> tuple[str, set[str]]:
    """The exit code of a client in a fresh process, and every module that it imported."""
    command = [sys.executable, "-c", MODULES_AFTER, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    _, code, *modules = ended.stdout.splitlines()[-1].split()
    assert "serviceoptctl.program" in modules
    return code, set(modules) - modules_of_the_libraries()


@cache
def modules_of_the_libraries() -> frozenset[str]:
    """What Click and msgspec import by themselves, which differs with their versions and is not our doing."""
    told = subprocess.run([sys.executable, "-c", BY_THE_LIBRARIES], capture_output=True, text=True, check=True)
    return frozenset(told.stdout.split())


def test_the_help_is_shown_without_importing_any_command_or_anything_heavy() -> None:
    code, modules = imported_by("--help")
    assert code == "0"
    assert not modules & HEAVY
    assert not [name for name in modules if name.startswith("serviceoptctl.commands.")]


def test_the_status_of_a_running_daemon_imports_nothing_heavy(daemon: Callable[..., object]) -> None:
    daemon()
    code, modules = imported_by("status")
    assert code == "0"
    assert not modules & HEAVY


def test_the_status_without_a_daemon_imports_nothing_that_only_a_connection_needs(state: Path) -> None:
    a_journal(state, a_finished_story())
    code, modules = imported_by("status")
    assert code == "0"
    assert not modules & (HEAVY - {"sqlite3"} | {"http.client", "ssl", "importlib.resources"})


@pytest.mark.parametrize("name", COMMANDS)
def test_the_one_line_help_in_the_table_is_that_of_the_command(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.get_short_help_str(limit=200) == COMMANDS[name].help


def test_every_command_is_listed_in_the_help_under_its_section(invoke: Callable[..., click.testing.Result]) -> None:
    shown = invoke("--help").stdout
    for title, section in SECTIONS.items():
        assert f"\n{title}:" in shown
        for name, entry in section.items():
            assert f"\n  {name} " in shown
            assert entry.help in shown


def test_every_module_among_the_commands_is_in_the_table() -> None:
    import serviceoptctl.commands as package

    files = {path.stem for path in Path(str(package.__file__)).parent.glob("*.py")} - {"__init__"}
    assert files == {entry.module for entry in COMMANDS.values()}


def test_the_version_is_that_of_the_package(invoke: Callable[..., click.testing.Result]) -> None:
    from importlib.metadata import version

    for arguments in (["--version"], ["optimizer", "--version"]):
        result = invoke(*arguments)
        assert (result.exit_code, result.stdout) == (0, f"serviceoptctl {version('serviceopt')}\n")


def test_a_misspelt_command_or_option_ends_with_exit_code_2_and_one_hint(
    invoke: Callable[..., click.testing.Result],
) -> None:
    for arguments, named in ((["statsu"], "statsu"), (["status", "--jsn"], "--jsn"), (["show", "three"], "three")):
        result = invoke(*arguments)
        assert result.exit_code == 2
        assert result.stdout == ""
        assert result.stderr.startswith("error: ")
        assert named in result.stderr
        assert result.stderr.count("hint:") == 1


def test_with_json_an_error_is_one_document_on_standard_output(invoke: Callable[..., click.testing.Result]) -> None:
    result = invoke("status", "--json")
    error = json.loads(result.stdout)["error"]
    assert (result.exit_code, error["exit_code"], result.stderr) == (5, 5, "")
    assert error["message"].startswith("no daemon answers on ")
    assert error["hint"]


def test_an_unforeseen_exception_is_an_internal_error_without_a_traceback(
    invoke: Callable[..., click.testing.Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("by \x1b[31mnothing")

    monkeypatch.setattr("serviceoptctl.commands.status.open_source", broken)
    result = invoke("status")
    assert result.exit_code == 1
    assert "internal error: ZeroDivisionError: by \\x1b[31mnothing" in result.stderr
    assert "Traceback" not in result.stderr
    assert "Traceback" in invoke("-v", "status").stderr
    monkeypatch.setenv("SERVICEOPT_DEBUG", "1")
    assert "Traceback" in invoke("status").stderr


def test_ctrl_c_ends_with_exit_code_130_and_without_a_traceback(
    invoke: Callable[..., click.testing.Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("serviceoptctl.commands.status.open_source", interrupted)
    result = invoke("status")
    assert result.exit_code == 130
    assert result.output.strip() == ""


def test_a_pipe_that_is_closed_early_makes_no_noise(state: Path) -> None:
    from builders import Story, a_finished_story, a_journal

    a_journal(state, *(a_finished_story(Story(run=number)) for number in range(1, 9)))
    reader = subprocess.Popen(["head", "-n", "1"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    client = subprocess.run(
        [sys.executable, "-m", "serviceoptctl", "export", "--events"],
        stdout=reader.stdin, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    assert reader.stdin is not None
    reader.stdin.close()
    reader.wait()
    assert client.stderr == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_of_a_shell_is_printed(invoke: Callable[..., click.testing.Result], shell: str) -> None:
    result = invoke("completion", shell)
    assert result.exit_code == 0
    assert "_SERVICEOPTCTL_COMPLETE" in result.stdout
    assert "serviceoptctl" in result.stdout


def test_completing_a_command_imports_none_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_SERVICEOPTCTL_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "serviceoptctl re")
    monkeypatch.setenv("COMP_CWORD", "1")
    script = "import sys\nfrom serviceoptctl.__main__ import main\ntry: main()\nexcept SystemExit: pass\n"
    script += "print(*sys.modules, file=sys.stderr)"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["plain,resume", "plain,reload"]
    assert "serviceoptctl.commands.resume" not in ended.stderr.split()


@pytest.mark.parametrize("arguments", [(), ("journal",)], ids=" ".join)
def test_a_group_without_a_command_prints_its_help_and_no_error(
    invoke: Callable[..., click.testing.Result], arguments: tuple[str, ...]
) -> None:
    bare, asked = invoke(*arguments), invoke(*arguments, "--help")
    assert (bare.exit_code, bare.stderr) == (0, "")
    assert bare.stdout == asked.stdout
    assert bare.stdout.startswith("Usage: ")
