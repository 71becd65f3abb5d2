"""Predicted against measured as pictures: one for the terminal, one as SVG. All axes are logarithmic."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape
from itertools import zip_longest
from typing import get_args

from serviceopt_journal.documents.models import Comparison
from serviceopt_journal.metric_table import GENERATE_SPEED, METRIC, TPOT, TTFT, RateName, reading
from serviceoptctl.render.text import safe

PANEL, MARGIN = 220, 60  # pixels
ACROSS = 4
COLUMNS, ROWS = 34, 14  # of a panel on a terminal
SHOWN = (GENERATE_SPEED, reading(TPOT, "mean"), reading(TTFT, "mean"), reading(TTFT, "p99"))
"""On a terminal; all of them are in the SVG."""
RATES: tuple[str, ...] = get_args(RateName)
"""Named with their unit; all others are seconds."""

Pairs = list[tuple[float, float]]


def _panels(document: Comparison) -> list[tuple[str, Pairs]]:
    return [
        (line.reading, [p.values[line.reading] for p in document.points if line.reading in p.values])
        for line in document.errors
    ]


def shown_name(reading: str) -> str:
    """What a reading is called on a screen: `TTFT p99`, or a rate's unit."""
    key, _, statistic = reading.partition(" ")
    return f"{METRIC[key].label} {statistic}" if statistic else METRIC[key].unit


def _range(pairs: Pairs) -> tuple[float, float]:
    values = [value for pair in pairs for value in pair]
    return min(values) / 1.05, max(values) * 1.05


def lines(document: Comparison) -> Iterator[str]:
    """Draws the two panels of a metric beside each other.

    A number is that of points in one place; dots are where both values are equal.
    """
    panels = [_text_panel(reading, pairs) for reading, pairs in _panels(document) if reading in SHOWN]
    for pair in (panels[number : number + 2] for number in range(0, len(panels), 2)):
        yield ""
        for row in zip_longest(*pair, fillvalue=""):
            yield "    ".join(cell.ljust(COLUMNS + 2) for cell in row).rstrip()


def _text_panel(reading: str, pairs: Pairs) -> list[str]:
    low, high = _range(pairs)
    unit = "" if reading in RATES else " s"

    def at(value: float, size: int) -> int:
        return round((size - 1) * math.log(value / low) / math.log(high / low))

    found: dict[tuple[int, int], int] = {}
    for measured, predicted in pairs:
        place = at(measured, COLUMNS), at(predicted, ROWS)
        found[place] = found.get(place, 0) + 1

    def cell(column: int, row: int) -> str:
        if here := found.get((column, row), 0):
            return "o" if here == 1 else str(min(here, 9))
        return "." if round(column * (ROWS - 1) / (COLUMNS - 1)) == row else " "

    body = ["|" + "".join(cell(column, row) for column in range(COLUMNS)) for row in reversed(range(ROWS))]
    ends = f"{low:.3g}{unit}", f"{high:.3g}{unit} measured"
    return [
        f"{shown_name(reading)}: predicted up to {high:.3g}{unit}",
        *body,
        "+" + "-" * COLUMNS,
        " " + ends[0] + ends[1].rjust(COLUMNS - len(ends[0])),
    ]


def plot(document: Comparison) -> str:
    """An SVG picture: a panel for each metric, both axes logarithmic, the diagonal where they agree."""
    panels = _panels(document)
    step = PANEL + MARGIN
    width, height = MARGIN + step * min(ACROSS, len(panels)), MARGIN + step * math.ceil(len(panels) / ACROSS)
    title = f"run {document.run}: predicted against measured" + " (SIMULATED)" * document.simulated
    drawn = [
        f'<g transform="translate({MARGIN + number % ACROSS * step},{MARGIN + number // ACROSS * step})">'
        + _panel(shown_name(reading), pairs)
        + "</g>"
        for number, (reading, pairs) in enumerate(panels)
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


def _panel(name: str, pairs: Pairs) -> str:
    low, high = _range(pairs)

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
