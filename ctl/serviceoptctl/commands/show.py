"""The command `serviceoptctl show`: one run or particle in full."""

from __future__ import annotations

import click

from serviceopt_journal.documents.particles import Particles
from serviceopt_journal.errors import NotFound
from serviceoptctl.documents import Answer
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
        _particle(source.particles(run), particle, as_json=as_json)
    elif particles:
        listed = source.particles(run)
        echo_json(listed.told) if as_json else render.particles(listed.document.particles)
    else:
        answer = source.run(run)
        echo_json(answer.told) if as_json else render.in_detail(answer.document, alive=source.running)


def _particle(answer: Answer[Particles], number: int, *, as_json: bool) -> None:
    listed = answer.document.particles
    place = next((place for place, each in enumerate(listed) if each.particle == number), None)
    if place is None:
        raise NotFound(f"the run has no particle {number}", hint="`serviceoptctl show --particles` lists them")
    echo_json(answer.told["particles"][place]) if as_json else render.particle(listed[place])
