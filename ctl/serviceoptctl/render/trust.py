"""Predicted against measured: as a document, and for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from serviceopt_journal.documents.models import ComparedPoint, Comparison, ReadingErrors
from serviceoptctl.render import scatter
from serviceoptctl.render.scatter import shown_name
from serviceoptctl.render.text import assignments, one_line, table

if TYPE_CHECKING:
    from serviceoptd.predicting.validation import Point


def document(
    run: int, *, simulated: bool, scheduler: Path | None, points: Sequence[Point], errors: Sequence[ReadingErrors]
) -> Comparison:
    """What `--json` prints (docs/api.md)."""
    from serviceoptd.predicting.validation import READINGS

    return Comparison(
        run=run,
        simulated=simulated,
        scheduler=str(scheduler) if scheduler else None,
        errors=tuple(errors),
        points=tuple(
            ComparedPoint(
                particle=point.particle,
                configuration=point.configuration,
                values={reading: pair for reading in READINGS if (pair := point.pair(reading)) is not None},
                outside=point.remark,
                refused=point.refused,
            )
            for point in points
        ),
    )


def trust(document: Comparison) -> None:
    """Prints the comparison for people to read."""
    if document.simulated:
        click.secho("SIMULATED: compared with a model, not with a service.", fg="yellow", bold=True)
    points = document.points
    by = f", batches composed by {document.scheduler}" if document.scheduler else ""
    click.echo(f"run {document.run}, {len(points)} configurations{by}\n")
    table(
        ("METRIC", "POINTS", "MEDIAN ERROR", "P90", "BIAS", "RANK", "SPREAD"),
        [
            (
                shown_name(line.reading),
                str(line.points),
                f"{line.median:.1%}",
                f"{line.p90:.1%}",
                f"{line.bias:+.1%}",
                "-" if line.rank is None else f"{line.rank:.2f}",
                "-" if line.spread is None else f"{line.spread:.1%}",
            )
            for line in document.errors
        ],
    )
    click.echo(
        "\nerrors: predicted / measured - 1; rank: Spearman's correlation; spread: of repeats, around their median"
    )
    if points and not document.errors:
        click.secho(f"\nnone of the {len(points)} configurations could be predicted; why:", fg="red", bold=True)
    for line in scatter.lines(document):
        click.echo(line)
    _list("outside of the model's training data", points, lambda point: point.outside)
    _list("not predicted", points, lambda point: point.refused)


def _list(title: str, points: Sequence[ComparedPoint], said: Callable[[ComparedPoint], str]) -> None:
    if not (listed := [point for point in points if said(point)]):
        return
    click.echo(f"\n{title}: {len(listed)} of {len(points)}")
    for point in listed:
        click.echo(f"  particle {point.particle} ({assignments(point.configuration)}): {one_line(said(point))}")
