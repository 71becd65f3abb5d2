"""The one place where an error is printed."""

from __future__ import annotations

import os
import traceback
from collections.abc import Sequence

import click

from serviceopt_journal.errors import ExitCode, ServiceoptError


def present(error: Exception, arguments: Sequence[str]) -> ExitCode:
    """Prints `error: ...` and `hint: ...` on standard error, or one JSON object on standard output with `--json`.

    Returns:
        The exit code of the process.
    """
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        # A group without a command: its help is the answer, and nothing went wrong that a person has to read of.
        click.echo(error.ctx.get_help() if error.ctx else error.message)
        return ExitCode.OK
    message, hint, code = _explain(error)
    if code is ExitCode.INTERRUPTED and not message:
        return code
    if "--json" in arguments:
        from serviceoptctl.render.text import to_json

        click.echo(to_json({"error": {"message": message, "hint": hint, "exit_code": int(code)}}))
    else:
        _say("error", message, "red")
        _say("hint", hint, "cyan")
    if code is ExitCode.FAILURE and _verbose(arguments):
        from serviceoptctl.render.text import safe

        click.echo(safe("".join(traceback.format_exception(error))), err=True)
    return code


def warn(message: str) -> None:
    """One line on standard error that does not end anything."""
    _say("warning", message, "yellow")


def note(message: str) -> None:
    """Something to know, on standard error, so that standard output holds the answer and nothing else."""
    from serviceoptctl.render.text import safe, width, wrapped

    click.echo(wrapped(safe(message), width(of_errors=True)), err=True)


def _explain(error: Exception) -> tuple[str, str, ExitCode]:
    if isinstance(error, ServiceoptError):
        return error.message, error.hint, ExitCode(error.exit_code)
    if isinstance(error, click.exceptions.Abort):
        return "", "", ExitCode.INTERRUPTED
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx else "serviceoptctl"
        return error.format_message(), f"`{command} --help` shows what is possible", ExitCode.USAGE
    if isinstance(error, click.ClickException):
        return error.format_message(), "", ExitCode.USAGE
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}", "", ExitCode.ENVIRONMENT
    kind = type(error).__name__
    where = traceback.extract_tb(error.__traceback__)[-1] if error.__traceback__ else None
    place = f" ({os.path.basename(where.filename)}:{where.lineno})" if where else ""  # noqa: PTH119 - a name, no path
    return (
        f"internal error: {kind}: {error}{place}",
        "please report it with the output of the same command after `serviceoptctl -v`",
        ExitCode.FAILURE,
    )


def _say(label: str, message: str, colour: str) -> None:
    if message:
        from serviceoptctl.render.text import safe, width, wrapped

        told = wrapped(f"{label}: {safe(message)}", width(of_errors=True))
        click.echo(click.style(f"{label}:", fg=colour, bold=True) + told.removeprefix(f"{label}:"), err=True)


def _verbose(arguments: Sequence[str]) -> bool:
    return bool(os.environ.get("SERVICEOPT_DEBUG")) or "-v" in arguments or "--verbose" in arguments
