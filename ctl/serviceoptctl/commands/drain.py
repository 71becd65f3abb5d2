"""The command `serviceoptctl drain`: lets the daemon finish what it measures."""

from __future__ import annotations

import click

from serviceoptctl.options import json_option
from serviceoptctl.render.text import echo_json
from serviceoptctl.source import daemon


@click.command()
@json_option
def drain(as_json: bool) -> None:
    """Let the daemon finish what it measures, and start nothing more.

    For maintenance. The runs stay in the journal; a restart of the daemon goes on with them.
    """
    answer = daemon().drain()
    if as_json:
        echo_json(answer.told)
    else:
        click.echo("draining: nothing more is started; `serviceoptctl status` shows when everything has ended")
