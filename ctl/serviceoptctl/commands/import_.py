"""The command `serviceoptctl import`: the predecessor's results."""

from __future__ import annotations

from pathlib import Path

import click

from serviceopt_journal.documents.requests import Import, ImportedResults, NewConfiguration
from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.foreign_text import decoded
from serviceoptctl.documents import Answer
from serviceoptctl.errors import note, warn
from serviceoptctl.options import json_option
from serviceoptctl.render.text import echo_json, safe
from serviceoptctl.render.units import several
from serviceoptctl.source import reachable
from serviceoptctl.submission import configuration_text


@click.command("import")
@click.argument("file", metavar="FILE.csv", type=click.Path(dir_okay=False))
@click.option("-e", "--engine", metavar="NAME", help="Serving framework whose parameters these are.")
@click.option(
    "-c", "--config", "configuration", metavar="FILE", type=click.Path(dir_okay=False),
    help="Configuration whose objective judges the results; without it there is no latency limit.",
)  # fmt: skip
@click.option("--name", default="", help="A name to find the run by; else that of the file.")
@click.option("--force", is_flag=True, help="Import a file once more that was imported already.")
@json_option
def import_(file: str, engine: str | None, configuration: str | None, name: str, force: bool, as_json: bool) -> None:
    """Take the predecessor's results into the journal as history.

    FILE.csv is a data_storage_*.csv. It becomes a run that is over and marked as imported: `runs`, `show`, `best` and
    `export` show it, and nothing of it is ever taken for a value that was measured here. All of it is imported or, when
    something is wrong with it, nothing.
    """
    judged_by = configuration_text(configuration) if configuration is not None else NewConfiguration()
    wanted = Import(
        file=str(Path(file).absolute()),
        content=_content(Path(file)),
        configuration_text=judged_by.configuration_text,
        configuration_path=judged_by.configuration_path,
        engine=engine,
        name=name,
        force=force,
        working_directory=str(Path.cwd()),
    )
    live = reachable()
    answer = live.import_results(wanted) if live else _here(wanted)
    if as_json:
        echo_json(answer.told)
        return
    found = answer.document
    for warning in found.warnings:
        warn(warning)
    counted = (("measured", found.measured), ("failed", found.failed), ("predicted", found.predicted))
    kinds = [f"{count} {kind}" for kind, count in counted if count]
    click.echo(safe(f"run {found.run} imported from {file}: {several(found.rows, 'row')}, {', '.join(kinds)}"))
    note(f"`serviceoptctl best {found.run}` shows the best of them, `show {found.run} --particles` all")


def _content(path: Path) -> str:
    """The file's text.

    Raises:
        InvalidConfiguration: it cannot be read.
    """
    try:
        return decoded(path.read_bytes(), path)
    except OSError as error:
        raise InvalidConfiguration(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from error


def _here(wanted: Import) -> Answer[ImportedResults]:
    from serviceopt_journal.places import places
    from serviceoptctl.from_journal import told
    from serviceoptd.foreground import import_results

    return told(import_results(wanted, places=places()))
