"""`serviceoptctl show`."""

from __future__ import annotations

import click

from serviceopt_journal.errors import NotFound
from serviceoptctl.options import json_option, run_argument
from serviceoptctl.render import run as render
from serviceoptctl.render.text import echo_json
from serviceoptctl.source import open_source


@click.command()
@run_argument
@click.option("--particle", type=click.IntRange(min=1), help="Show this particle instead.")
@click.option("--particles", is_flag=True, help="List every particle and what became of it.")
@json_option
def show(run: str, particle: int | None, particles: bool, as_json: bool) -> None:
    """Show one run, or one of its particles, in full."""
    source = open_source()
    if particle is not None:
        found = next((p for p in source.particles(run) if p["particle"] == particle), None)
        if found is None:
            raise NotFound(f"the run has no particle {particle}", hint="`serviceoptctl show --particles` lists them")
        echo_json(found) if as_json else render.particle(found)
    elif particles:
        listed = source.particles(run)
        echo_json({"particles": listed}) if as_json else render.particles(listed)
    else:
        document = source.run(run)
        echo_json(document) if as_json else render.in_detail(document)
