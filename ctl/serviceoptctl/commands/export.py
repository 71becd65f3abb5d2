"""The command `serviceoptctl export`: results or events as CSV or JSON."""

from __future__ import annotations

import click

from serviceoptctl import exporting
from serviceoptctl.documents import LATEST, Source
from serviceoptctl.errors import note
from serviceoptctl.options import current_run_argument, standard_output
from serviceoptctl.source import journal_directory, open_source


@click.command()
@current_run_argument
@click.option(
    "-o", "--output", metavar="FILE", type=click.Path(dir_okay=False), callback=standard_output,
    help="Write here, not to the terminal; `-` is standard output.",
)  # fmt: skip
@click.option("--all", "every", is_flag=True, help="Every run, with the columns of all of them.")
@click.option("--events", is_flag=True, help="Every event instead of the results; with RUN, those of that run.")
@click.option(
    "--until", type=click.IntRange(min=1), metavar="SEQ",
    help="Read the journal up to this event only: salvages what precedes the damage.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="JSON; with --events one record on each line.")
def export(run: str | None, output: str | None, every: bool, events: bool, until: int | None, as_json: bool) -> None:
    """Write results as CSV or JSON.

    One row per parameter set and load, rejected and failed ones included. Without RUN the latest run. Seconds,
    tokens/s and requests/s throughout; `serviceoptctl docs api` describes the columns.
    """
    if every and run is not None:
        raise click.UsageError("--all means every run: leave out RUN, or --all")
    source = _salvaged(until) if until is not None else open_source()
    with exporting.opened(output) as stream:
        if events:
            number = source.run(LATEST).document.run if run == LATEST else int(run) if run is not None else None
            count, what = exporting.events(source, number, stream, as_json=as_json), "events"
        else:
            names = [str(each.run) for each in source.runs().document.runs] if every else [run or LATEST]
            tables = [source.table(name).document for name in names]
            count, what = exporting.rows(exporting.together(tables), stream, as_json=as_json), "rows"
    if output is not None:
        note(f"{count} {what} written to {output}")


def _salvaged(until: int) -> Source:
    from serviceoptctl.from_journal import FromJournal

    return FromJournal.open(journal_directory(), until)
