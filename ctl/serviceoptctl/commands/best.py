"""`serviceoptctl best`."""

from __future__ import annotations

import click

from serviceoptctl.options import json_option, run_argument
from serviceoptctl.render import recommendation as render
from serviceoptctl.render.text import echo_json
from serviceoptctl.source import open_source


@click.command()
@run_argument
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "shell", "env"]),
    default="text",
    help="shell: the command that was measured; env: NAME=value lines for an environment file.",
)
@json_option
def best(run: str, form: str, as_json: bool) -> None:
    """Show the recommended parameters and how to deploy them.

    Of a run that is not over, the best so far.
    """
    answer = open_source().best(run)
    if as_json or form == "json":
        echo_json(answer.told)
    elif form == "shell":
        click.echo(render.shell(answer.document))
    elif form == "env":
        click.echo(render.environment(answer.document))
    else:
        render.recommendation(answer.document)
