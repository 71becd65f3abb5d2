"""The command `serviceoptctl docs`: the installed documentation."""

from __future__ import annotations

import sys

import click

from serviceopt_journal.documents.local import Page, Pages
from serviceoptctl import pages
from serviceoptctl.options import json_option
from serviceoptctl.render.text import echo_json


@click.command()
@click.argument("topic", required=False)
@json_option
def docs(topic: str | None, as_json: bool) -> None:
    """Show a page of the installed documentation.

    Without TOPIC the pages are listed. TOPIC is a page, or a section of one: `configuration`, `engines#command`.
    """
    if topic is None:
        known = pages.topics()
        if as_json:
            echo_json(Pages(directory=str(pages.directory()), topics=known))
            return
        widest = max(map(len, known))
        for name, title in known.items():
            click.echo(f"{name:<{widest}}  {title}")
        return
    text = pages.page(topic)
    if as_json:
        echo_json(Page(topic=topic, text=text))
    elif sys.stdout.isatty():
        from rich.console import Console
        from rich.markdown import Markdown

        console = Console()
        with console.pager(styles=True):
            console.print(Markdown(text))
    else:
        click.echo(text, nl=False)
