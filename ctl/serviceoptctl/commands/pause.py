"""The command `serviceoptctl pause`: starts no further evaluation."""

from __future__ import annotations

import click

from serviceoptctl.acting import act
from serviceoptctl.options import current_run_argument, json_option


@click.command()
@current_run_argument
@click.option("--reason", default="", help="Why; kept in the journal with the event.")
@json_option
def pause(run: str | None, reason: str, as_json: bool) -> None:
    """Start no further evaluation until `resume`.

    The service that runs is stopped; what was measured is kept. Without RUN the one under way is meant.
    """
    act("pause", run, reason, as_json=as_json)
