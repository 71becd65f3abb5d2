"""Options and arguments that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from serviceoptctl.documents import LATEST

MOST_DIGITS = 18  # of a run's number
Command = TypeVar("Command", bound=Callable[..., Any])


def run_number(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Checks that a value is a run's number, or `latest`."""
    if value in (None, LATEST) or (value.isascii() and value.isdigit() and 0 < len(value.lstrip("0")) <= MOST_DIGITS):
        return value
    raise click.BadParameter(f"{value!r} is not a run; give its number, or `latest`")


def standard_output(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """None, which is standard output, where a file is called `-`."""
    return None if value == "-" else value


def directory(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """Checks that a place for several files is not meant to be standard output."""
    if value == "-":
        raise click.BadParameter("several files are written, and standard output cannot hold them; give a directory")
    return value


class PluginName(click.Option):
    """An option whose values are installed plugins: `--help` and completion list them, whoever made them."""

    def __init__(self, *arguments: Any, group: str, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.group = group

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """The option and its help, with the names of the installed plugins."""
        record = super().get_help_record(ctx)
        return record and (record[0], f"{record[1]}  [installed: {', '.join(installed(self.group))}]")

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Proposes completions for a shell."""
        return [CompletionItem(name) for name in installed(self.group) if name.startswith(incomplete)]


def installed(group: str) -> list[str]:
    """Names of the plugins of an entry-point group. Imports none of them."""
    from importlib.metadata import entry_points

    return sorted({entry.name for entry in entry_points(group=f"serviceopt.{group}")})


run_argument = click.argument("run", callback=run_number, default=LATEST, required=False)
"""RUN; the latest one where it is not given."""

current_run_argument = click.argument("run", callback=run_number, required=False)
"""RUN; the one under way where it is not given."""

verbose_option = click.option("-v", "--verbose", is_flag=True, help="Show a line for every event of the run.")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON (`serviceoptctl docs api`).")


def config_option(*, required: bool = False) -> Callable[[Command], Command]:
    """Adds the option `-c FILE` to a command."""
    return click.option(
        "-c",
        "--config",
        "configuration",
        metavar="FILE",
        required=required,
        type=click.Path(dir_okay=False),
        help="Configuration file."
        if required
        else "Configuration file; else $SERVICEOPT_CONFIG, ./config.toml, the user's, the machine's.",
    )
