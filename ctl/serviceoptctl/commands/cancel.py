"""The command `serviceoptctl cancel`: ends a run."""

from __future__ import annotations

import click

from serviceoptctl.acting import act
from serviceoptctl.options import current_run_argument, json_option


@click.command()
@current_run_argument
@click.option("--reason", default="", help="Why; kept in the journal with the event.")
@json_option
def cancel(run: str | None, reason: str, as_json: bool) -> None:
    """End a run now; what was measured is kept.

    The service and the client that run are stopped. Without RUN the one under way is meant.
    """
    act("cancel", run, reason, as_json=as_json)
