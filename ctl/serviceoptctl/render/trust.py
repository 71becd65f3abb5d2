"""Predicted against measured: as a document, for people, and as a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from typing import TYPE_CHECKING, Any

import click

from serviceoptctl.render.text import assignments, one_line, safe, table

if TYPE_CHECKING:
    from serviceoptd.latency_model.trust import ErrorOf, Point

Document = Mapping[str, Any]
PANEL, MARGIN = 220, 60  # pixels
ACROSS = 4
NAMES = {
    "generate_speed": "output tokens/s", "throughput": "requests/s", "ttft mean": "TTFT mean", "ttft p99": "TTFT p99",
    "tpot mean": "TPOT mean", "tpot p99": "TPOT p99", "e2el mean": "end to end mean",
}  # fmt: skip


def document(run: int, *, simulated: bool, points: Sequence[Point], errors: Sequence[ErrorOf]) -> Document:
    """What `--json` prints (docs/api.md)."""
    return {
        "run": run,
        "simulated": simulated,
        "errors": [asdict(line) for line in errors],
        "points": [
            {
                "particle": point.particle,
                "configuration": point.configuration,
                "values": {reading: pair for reading in NAMES if (pair := point.pair(reading)) is not None},
                "outside": point.remark,
                "refused": point.refused,
            }
            for point in points
        ],
    }


def trust(document: Document) -> None:
    """For people."""
    if document["simulated"]:
        click.secho("SIMULATED: compared with a model, not with a service.", fg="yellow", bold=True)
    points = document["points"]
    click.echo(f"run {document['run']}, {len(points)} configurations\n")
    table(
        ("METRIC", "POINTS", "MEDIAN ERROR", "P90", "BIAS", "RANK", "SPREAD"),
        [
            (
                NAMES[line["reading"]],
                str(line["points"]),
                f"{line['median']:.1%}",
                f"{line['p90']:.1%}",
                f"{line['bias']:+.1%}",
                "-" if line["rank"] is None else f"{line['rank']:.2f}",
                "-" if line["spread"] is None else f"{line['spread']:.1%}",
            )
            for line in document["errors"]
        ],
    )
    click.echo(
        "\nerrors: predicted / measured - 1; rank: Spearman's correlation; spread: of repeats, around their median"
    )
    _list("outside of the model's training data", points, "outside")
    _list("not predicted", points, "refused")


def _list(title: str, points: Sequence[Document], key: str) -> None:
    if not (listed := [point for point in points if point[key]]):
        return
    click.echo(f"\n{title}: {len(listed)} of {len(points)}")
    for point in listed:
        click.echo(f"  particle {point['particle']} ({assignments(point['configuration'])}): {one_line(point[key])}")


def plot(document: Document) -> str:
    """An SVG picture: a panel for each metric, both axes logarithmic, the diagonal where they agree."""
    panels = [
        (
            NAMES[line["reading"]],
            [p["values"][line["reading"]] for p in document["points"] if line["reading"] in p["values"]],
        )
        for line in document["errors"]
    ]
    step = PANEL + MARGIN
    width, height = MARGIN + step * min(ACROSS, len(panels)), MARGIN + step * math.ceil(len(panels) / ACROSS)
    title = f"run {document['run']}: predicted against measured" + " (SIMULATED)" * document["simulated"]
    drawn = [
        f'<g transform="translate({MARGIN + number % ACROSS * step},{MARGIN + number // ACROSS * step})">'
        + _panel(name, pairs)
        + "</g>"
        for number, (name, pairs) in enumerate(panels)
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif">',
            '<rect width="100%" height="100%" fill="white"/>',
            f'<text x="{MARGIN}" y="24" font-size="15">{escape(safe(title))}</text>',
            *drawn,
            "</svg>\n",
        ]
    )


def _panel(name: str, pairs: Sequence[tuple[float, float]]) -> str:
    values = [value for pair in pairs for value in pair]
    low, high = min(values) / 1.05, max(values) * 1.05

    def at(value: float) -> float:
        return PANEL * math.log(value / low) / math.log(high / low)

    dots = "".join(
        f'<circle cx="{at(measured):.1f}" cy="{PANEL - at(predicted):.1f}" r="3" fill="#1f6feb" fill-opacity="0.7"/>'
        for measured, predicted in pairs
    )
    return (
        f'<g font-size="12"><rect width="{PANEL}" height="{PANEL}" fill="none" stroke="#999"/>'
        f'<line x1="0" y1="{PANEL}" x2="{PANEL}" y2="0" stroke="#999" stroke-dasharray="4"/>'
        f'<text x="4" y="-6">{escape(name)}</text>{dots}'
        f'<text x="0" y="{PANEL + 14}">{low:.3g}</text>'
        f'<text x="{PANEL}" y="{PANEL + 14}" text-anchor="end">{high:.3g} measured</text>'
        f'<text x="-6" y="12" text-anchor="end">{high:.3g}</text></g>'
    )
