"""The command line as a whole: its commands, and the one way in which it ends.

A command's module is imported when that command is called, and not before: `--help` and `status` must answer in a
blink on a machine that is busy serving. So the one-line helps stand here; a test keeps them equal to the commands'.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

import click
from click.shell_completion import CompletionItem

from serviceoptctl.errors import present
from serviceoptctl.spelling import spelled_out


class Entry(NamedTuple):
    """One line of `--help`."""

    module: str  # below serviceoptctl.commands; the command's object has the same name
    help: str


SECTIONS: dict[str, dict[str, Entry]] = {
    "Tune": {
        "run": Entry("run", "Submit a run to the daemon, or do it here with --standalone."),
        "watch": Entry("watch", "Follow a run until it is over."),
        "check": Entry("check", "Validate a configuration; --dry-run shows what would be started."),
        "doctor": Entry("doctor", "Check whether this machine has what a configuration needs."),
        "profile": Entry("profile", "Record a vLLM's steps under load, as training data for `train`."),
    },
    "Look": {
        "status": Entry("status", "Show the daemon, the run that is worked on and the queue."),
        "runs": Entry("runs", "List every run in the journal."),
        "show": Entry("show", "Show one run, or one of its particles, in full."),
        "best": Entry("best", "Show the recommended parameters and how to deploy them."),
        "trust": Entry("trust", "Compare a latency model's predictions with what a run measured."),
        "events": Entry("events", "Show what happened, like journalctl."),
        "export": Entry("export", "Write results as CSV or JSON."),
        "journal": Entry("journal", "Look after the journal itself."),
    },
    "Control": {
        "pause": Entry("pause", "Start no further evaluation until `resume`."),
        "resume": Entry("resume", "Go on with a run that is paused or held."),
        "cancel": Entry("cancel", "End a run now; what was measured is kept."),
        "reload": Entry("reload", "Change SLOs, budget or log level of a run that is under way."),
        "drain": Entry("drain", "Let the daemon finish what it measures, and start nothing more."),
    },
    "As msserviceprofiler": {
        "optimizer": Entry("optimizer", "Tune with the options of `msserviceprofiler optimizer`."),
        "import": Entry("import_", "Take the predecessor's results into the journal as history."),
        "train": Entry("train", "Build the latency model of simulation mode from profiling data."),
    },
    "Learn": {
        "docs": Entry("docs", "Show a page of the installed documentation."),
    },
    "Shell": {
        "completion": Entry("completion", "Print the completion script of a shell."),
    },
}
COMMANDS: dict[str, Entry] = {name: entry for section in SECTIONS.values() for name, entry in section.items()}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands, without importing any of them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports the module of one command; None where there is no such command."""
        if cmd_name not in COMMANDS:
            return None
        module = COMMANDS[cmd_name].module
        command: click.Command = getattr(importlib.import_module(f"serviceoptctl.commands.{module}"), module)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the command that the words name, and proposes the nearest one where there is none."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command, rest if command is None else spelled_out(command, rest)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the commands into the help, in groups."""
        widest = max(map(len, COMMANDS))
        for title, section in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(widest), entry.help) for name, entry in section.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Proposes the commands that begin like this, without importing any of them."""
        names = [CompletionItem(name, help=COMMANDS[name].help) for name in COMMANDS if name.startswith(incomplete)]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]


class Program(LazyGroup):
    """The group that ends the process: every error is printed once, and has its exit code."""

    def main(  # type: ignore[override]  # always standalone: a command returns its exit code, or raises
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Runs the program, and prints an error as one line and its hint."""
        arguments = list(sys.argv[1:] if args is None else args)
        extra.pop("standalone_mode", None)
        try:
            result = super().main(arguments, prog_name or "serviceoptctl", standalone_mode=False, **extra)
        except Exception as error:  # noqa: BLE001 - whatever it is, people get a message and no traceback
            result = present(error, arguments)
        sys.exit(int(result) if isinstance(result, int) else 0)


def _version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from serviceoptd import __version__

        click.echo(f"serviceoptctl {__version__}")
        ctx.exit()


version_option = click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version and exit."
)


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-v", "--verbose", is_flag=True, expose_value=False, help="Show the traceback of an internal error.")
@version_option
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Tune the serving parameters of an LLM service, and see what the tuning did.

    The daemon is found by its socket, the journal by its directory: SERVICEOPT_SOCKET and SERVICEOPT_STATE_DIR
    override the places. Exit codes: `serviceoptctl docs exit-codes`.
    """
    if os.environ.get("NO_COLOR"):
        ctx.color = False
