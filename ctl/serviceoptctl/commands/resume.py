"""The command `serviceoptctl resume`: goes on with a paused or held run."""

from __future__ import annotations

import click

from serviceoptctl.acting import act
from serviceoptctl.options import current_run_argument, json_option


@click.command()
@current_run_argument
@click.option("--reason", default="", help="Why; kept in the journal with the event.")
@json_option
def resume(run: str | None, reason: str, as_json: bool) -> None:
    """Go on with a run that is paused or held.

    Without RUN the one under way is meant.
    """
    act("resume", run, reason, as_json=as_json)
