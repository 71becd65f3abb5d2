"""The command `serviceoptctl reload`: changes a run that is under way."""

from __future__ import annotations

import click

from serviceoptctl.acting import meant
from serviceoptctl.options import config_option, current_run_argument, json_option
from serviceoptctl.render.text import echo_json, one_line, to_json
from serviceoptctl.source import daemon
from serviceoptctl.submission import configuration_text


@click.command()
@current_run_argument
@config_option(required=True)
@json_option
def reload(run: str | None, configuration: str, as_json: bool) -> None:
    """Change SLOs, budget or log level of a run that is under way.

    What was measured is scored again by the new objectives. Anything else that differs from the run's configuration is
    refused, and then nothing is changed. Without RUN the one under way is meant.
    """
    live = daemon()
    number = meant(live, run)
    answer = live.reconfigure(number, configuration_text(configuration))
    if as_json:
        echo_json(answer.told)
        return
    changes = answer.document.changes
    if not changes:
        click.echo(f"run {number}: nothing changed")
    for key, value in changes.items():
        click.echo(f"run {number}: {one_line(key)} = {one_line(to_json(value))}")
