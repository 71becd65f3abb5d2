"""The command `serviceoptctl runs`: the list of all runs."""

from __future__ import annotations

import click

from serviceoptctl.options import json_option
from serviceoptctl.render import run as render
from serviceoptctl.render.text import echo_json
from serviceoptctl.source import open_source


@click.command()
@json_option
def runs(as_json: bool) -> None:
    """List every run in the journal."""
    source = open_source()
    answer = source.runs()
    if as_json:
        echo_json(answer.told)
    else:
        render.listing(answer.document.runs, alive=source.running)
