"""The command `serviceoptctl status`: the daemon, its run and its queue."""

from __future__ import annotations

import click

from serviceoptctl.options import json_option
from serviceoptctl.render import run as render
from serviceoptctl.render.text import echo_json
from serviceoptctl.source import open_source


@click.command()
@json_option
def status(as_json: bool) -> None:
    """Show the daemon, the run that is worked on and the queue.

    With the daemon down it tells what the journal holds.
    """
    answer = open_source().status()
    if as_json:
        echo_json(answer.told)
    else:
        render.status(answer.document)
