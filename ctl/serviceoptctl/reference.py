"""Prints docs/cli.md: the `--help` of every command. `python -m serviceoptctl.reference > docs/cli.md`."""

from __future__ import annotations

from collections.abc import Iterator

import click

from serviceoptctl.program import cli

WIDTH = 100
HEAD = """# The command line

Made by `python -m serviceoptctl.reference`; a test keeps it so. Exit codes: [exit-codes.md](exit-codes.md). What `--json`
prints: [api.md](api.md).

The client talks to this user's own daemon, else to the machine's. With none running, the commands that only look read the
journal; so does a member of its group who may not write it. `SERVICEOPT_STATE_DIR` and `SERVICEOPT_SOCKET` name other
places. `NO_COLOR` switches colours off; there are none in a pipe. `SERVICEOPT_DEBUG` shows the
traceback of an internal error.
"""


def reference() -> str:
    """The text of the page docs/cli.md."""
    return "\n".join([HEAD, *_sections(cli, _context(cli, "serviceoptctl", None))])


def _sections(command: click.Command, context: click.Context) -> Iterator[str]:
    level = "##" if context.parent is None else "###"
    yield f"{level} {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None:
                yield from _sections(child, _context(child, name, context))


def _context(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    return click.Context(
        command,
        parent=parent,
        info_name=name,
        terminal_width=WIDTH,
        max_content_width=WIDTH,
        color=False,
        help_option_names=["-h", "--help"],
    )


if __name__ == "__main__":
    click.echo(reference(), nl=False)
