"""`serviceoptctl train`."""

from __future__ import annotations

import click

from serviceopt_journal.errors import InvalidConfiguration


@click.command()
@click.option("-i", "--input", "source", required=True, metavar="DIRECTORY", help="Parsed profiling output.")
@click.option("-o", "--output", "target", default=".", metavar="DIRECTORY", help="Where the model goes.")
@click.option(
    "-t", "--type", "framework", type=click.Choice(["mindie", "vllm"]), default="mindie", help="What made the data."
)
def train(source: str, target: str, framework: str) -> None:
    """Build the latency model from profiling data (comes later)."""
    raise InvalidConfiguration(
        "`train` builds the latency model of simulation mode, which comes with a later release",
        hint=f"keep the {framework} data in {source}; `serviceoptctl run` tunes on the real machine today",
    )
