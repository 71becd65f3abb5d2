"""`serviceoptctl import`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from serviceopt_journal.errors import InvalidConfiguration
from serviceoptctl.errors import note, warn
from serviceoptctl.options import json_option
from serviceoptctl.render.text import echo_json, safe
from serviceoptctl.source import reachable
from serviceoptctl.submission import configuration_document

Document = dict[str, Any]


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
    wanted = {
        "file": str(Path(file).absolute()),
        "content": _content(Path(file)),
        "engine": engine,
        "name": name,
        "force": force,
        "working_directory": str(Path.cwd()),
        **(configuration_document(configuration) if configuration is not None else {}),
    }
    live = reachable()
    answer = live.import_results(wanted) if live else _here(wanted)
    if as_json:
        echo_json(answer)
        return
    for warning in answer["warnings"]:
        warn(str(warning))
    kinds = [f"{answer[kind]} {kind}" for kind in ("measured", "failed", "predicted") if answer[kind]]
    click.echo(safe(f"run {answer['run']} imported from {file}: {answer['rows']} rows, {', '.join(kinds)}"))
    note(f"`serviceoptctl best {answer['run']}` shows the best of them, `show {answer['run']} --particles` all")


def _content(path: Path) -> str:
    """The file's text, byte for byte.

    Raises:
        InvalidConfiguration: it cannot be read.
    """
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise InvalidConfiguration(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InvalidConfiguration(f"{path}:{line}: is not UTF-8 text") from error


def _here(wanted: Document) -> Document:
    from serviceopt_journal.places import places
    from serviceoptd.foreground import import_results

    return import_results(wanted, places=places())
