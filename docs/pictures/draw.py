"""Draws the pictures of docs/how-it-works.md: `python docs/pictures/draw.py [DIRECTORY]`.

Plain SVG on a background of its own, so that it can be read on a light page and on a dark one; the fonts are the
reader's. Equal sources give equal bytes, and a test compares them with what is committed. The
floors are read from tests/test_import_directions.py and their words from the rooms themselves, so that the picture is
what the test enforces.
"""

from __future__ import annotations

import ast
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).parents[2]
PAPER, INK, FAINT, LINE = "#fbfaf7", "#22272e", "#5d6670", "#8b949e"
BLUE, GREEN, AMBER, RED = "#dbe9f9", "#dcefdc", "#fbeccb", "#c0392b"


class Picture:
    """A sheet of `width` x `height` pixels with a title for those who cannot see it."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self._size = (width, height)
        self._title = title
        self._body: list[str] = []

    def box(self, x: float, y: float, w: float, h: float, fill: str = "#ffffff", line: str = LINE) -> None:
        self._body.append(
            f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="6" fill="{fill}" stroke="{line}"/>'
        )

    def tile(self, x: float, y: float, w: float, h: float, fill: str) -> None:
        self._body.append(f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" fill="{fill}"/>')

    def words(
        self, x: float, y: float, text: str, size: int = 13, fill: str = INK, anchor: str = "middle", bold: bool = False
    ) -> None:
        look = f'font-size="{size}" fill="{fill}" text-anchor="{anchor}"' + (' font-weight="bold"' if bold else "")
        self._body.append(f'<text x="{x:g}" y="{y:g}" {look}>{escape(text)}</text>')

    def upright(self, x: float, y: float, text: str, size: int = 12) -> None:
        self._body.append(
            f'<text transform="translate({x:g} {y:g}) rotate(-90)" font-size="{size}" fill="{INK}"'
            f' text-anchor="middle">{escape(text)}</text>'
        )

    def path(self, d: str, line: str = INK, *, arrow: bool = True, dashed: bool = False, width: float = 1.4) -> None:
        end = ' marker-end="url(#head)"' if arrow else ""
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self._body.append(f'<path d="{d}" fill="none" stroke="{line}" stroke-width="{width:g}"{dash}{end}/>')

    def dot(self, x: float, y: float, r: float, fill: str, line: str = INK) -> None:
        self._body.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:g}" fill="{fill}" stroke="{line}"/>')

    def svg(self) -> str:
        width, height = self._size
        page = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        font = 'font-family="Helvetica, Arial, sans-serif"'
        head = 'viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto"'
        sheet = f'width="{width - 1}" height="{height - 1}" rx="10" fill="{PAPER}" stroke="{LINE}"'
        lines = (
            f'<svg xmlns="http://www.w3.org/2000/svg" {page} {font} role="img">',
            f"<title>{escape(self._title)}</title>",
            f'<defs><marker id="head" {head}><path d="M0 0.5 L8 4 L0 7.5 z" fill="{INK}"/></marker></defs>',
            f'<rect x="0.5" y="0.5" {sheet}/>',
            *self._body,
            "</svg>",
        )
        return "\n".join(lines) + "\n"


def one_evaluation() -> Picture:
    picture = Picture(960, 400, "The way of one evaluation: from the policy through search, rules, service and client")
    picture.words(24, 34, "One evaluation's way", 17, anchor="start", bold=True)
    steps = (
        ("policy", "what is due?", BLUE, ("the state is a fold", "over all events")),
        ("search", "proposes a particle", BLUE, ("particle_proposed",)),
        ("rules", "judge it", BLUE, ("particle_rejected",)),
        ("service", "is launched", GREEN, ("service_launching", "service_launched", "service_ready")),
        ("client", "measures", GREEN, ("measurement_started", "measurement_finished")),
        ("service", "is stopped", GREEN, ("service_stopping", "service_stopped", "evaluation_finished")),
    )
    wide, gap, left, top = 134, 20, 24, 124
    middles = [left + index * (wide + gap) + wide / 2 for index in range(len(steps))]
    picture.box(middles[1] - wide / 2, 286, 5 * wide + 4 * gap, 76, AMBER)
    picture.path(f"M{middles[1] - wide / 2:g} 324 H{middles[0] + 62:g}")
    for index, ((who, does, fill, events), x) in enumerate(zip(steps, middles, strict=True)):
        picture.box(x - wide / 2, top, wide, 58, fill)
        picture.words(x, top + 25, who, 14, bold=True)
        picture.words(x, top + 44, does, 12)
        if index < len(steps) - 1:
            picture.path(f"M{x + wide / 2:g} {top + 29} H{x + wide / 2 + gap - 1:g}")
        if index:
            picture.path(f"M{x:g} {top + 58} V284")
        for line, event in enumerate(events):
            picture.words(x, (309 if index else 320) + 18 * line, event, 12)
    picture.path(f"M{middles[2]:g} {top} V100 H{middles[1] + 24:g} V{top - 2}", dashed=True)
    picture.words((middles[1] + middles[2]) / 2 + 12, 92, "rejected", 12, FAINT)
    picture.path(f"M{middles[4]:g} {top} V66 H{middles[1] - 24:g} V{top - 2}", dashed=True)
    picture.words(
        (middles[1] + middles[4]) / 2,
        58,
        "the next particle differs only in its load: the service goes on running",
        12,
        FAINT,
    )
    picture.words(
        (middles[1] + middles[5]) / 2, 382, "journal: each event is on the disk before the next step begins", 12, FAINT
    )
    picture.path(f"M{middles[0]:g} 284 V{top + 60}")
    for index, (fill, text) in enumerate(((BLUE, "pure: decides"), (GREEN, "acts on the machine"))):
        picture.box(660 + 130 * index, 20, 16, 16, fill)
        picture.words(682 + 130 * index, 33, text, 12, FAINT, "start")
    return picture


def promised(x: float, y: float) -> float:
    """An invented service: throughput grows with both until it is full, and what waits is late. 0 to 1."""
    capacity = 1 - math.exp(-3 * x)
    throughput = capacity * (1 - math.exp(-2.5 * y / (0.25 + capacity)))
    late = y - 0.25 - 0.55 * math.sqrt(x)
    starts = 1 / (1 + math.exp((x - 0.9) * 30))
    return throughput * starts / (1 + math.exp(late * 16))


def climbing(x: float, y: float, moves: int) -> Iterator[tuple[float, float]]:
    """Where a virtual particle goes, move by move."""
    for _ in range(moves):
        yield x, y
        step = 0.01
        dx = promised(x + step, y) - promised(x - step, y)
        dy = promised(x, y + step) - promised(x, y - step)
        size = math.hypot(dx, dy) or 1.0
        x, y = min(max(x + 0.07 * dx / size, 0.02), 0.98), min(max(y + 0.07 * dy / size, 0.02), 0.98)


def swarm_over_its_models() -> Picture:
    picture = Picture(
        960, 470, "The swarm: virtual particles climb over the models, and the best place found is measured"
    )
    picture.words(24, 34, "The swarm over its models", 17, anchor="start", bold=True)
    picture.words(24, 54, "drawn from an invented formula, not measured", 12, FAINT, "start")
    left, top, side, tiles = 60, 72, 350, 25
    size = side / tiles

    def at(x: float, y: float) -> tuple[float, float]:
        return left + x * side, top + (1 - y) * side

    for column in range(tiles):
        for row in range(tiles):
            worth = promised((column + 0.5) / tiles, (row + 0.5) / tiles)
            red, green, blue = (round(250 - worth * depth) for depth in (150, 75, 20))
            picture.tile(
                left + column * size, top + side - (row + 1) * size, size, size, f"#{red:02x}{green:02x}{blue:02x}"
            )
    picture.path(f"M{left} {top} V{top + side} H{left + side}", arrow=False)
    picture.words(left + side / 2, top + side + 22, "a parameter of the service: sequences in a batch", 12)
    picture.upright(left - 14, top + side / 2, "a parameter of the load: requests in flight")
    for start in (
        (0.08, 0.9),
        (0.15, 0.12),
        (0.33, 0.88),
        (0.42, 0.1),
        (0.62, 0.93),
        (0.72, 0.14),
        (0.9, 0.8),
        (0.94, 0.3),
    ):
        way = [at(x, y) for x, y in climbing(*start, moves=5)]
        picture.path("M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in way), "#2f6db3", width=1.2)
        picture.dot(*way[0], 4, "#ffffff", "#2f6db3")
    for number, place in enumerate(((0.22, 0.32), (0.5, 0.5), (0.84, 0.46), (0.27, 0.6), (0.66, 0.62)), 1):
        x, y = at(*place)
        picture.dot(x, y, 8, INK)
        picture.words(x, y + 4, str(number), 11, "#ffffff")
    best = max((promised(a / 50, b / 50), a / 50, b / 50) for a in range(51) for b in range(51))
    x, y = at(*best[1:])
    picture.dot(x, y, 11, "none", RED)
    picture.dot(x, y, 4, RED, RED)

    steps = (
        (BLUE, "1  Virtual particles are drawn", "1,024 positions; about 120 of them become the swarm"),
        (BLUE, "2  They move over the models", "24 moves; a prediction takes microseconds"),
        (
            BLUE,
            "3  The place that promises most is proposed",
            "gain x chance to start and keep every SLO, against its time",
        ),
        (GREEN, "4  It is launched and measured", "minutes; another load on the same service needs no launch"),
        (BLUE, "5  The models learn from the result", "a failed launch teaches them too"),
    )
    for index, (fill, does, detail) in enumerate(steps):
        y = 76 + 72 * index
        picture.box(500, y, 400, 54, fill)
        picture.words(514, y + 23, does, 14, anchor="start", bold=True)
        picture.words(514, y + 42, detail, 12, anchor="start")
        if index < len(steps) - 1:
            picture.path(f"M700 {y + 54} V{y + 70}")
    picture.path("M900 391 H928 V103 H903")
    for index, (kind, text) in enumerate(
        (("virtual", "virtual particle"), ("measured", "measured"), ("next", "measured next"))
    ):
        x = 500 + 140 * index
        if kind == "virtual":
            picture.dot(x, 447, 4, "#ffffff", "#2f6db3")
        elif kind == "measured":
            picture.dot(x, 447, 8, INK)
        else:
            picture.dot(x, 447, 8, "none", RED)
            picture.dot(x, 447, 3, RED, RED)
        picture.words(x + 14, 451, text, 12, FAINT, "start")
    picture.words(left + side / 2, top + side + 42, "darker: the models promise more", 12, FAINT)
    return picture


def floors() -> list[list[str]]:
    """The rooms of the daemon from the ground up, by the rows in which the test's tuple is written."""
    tree = ast.parse((ROOT / "tests" / "test_import_directions.py").read_text())
    for node in tree.body:
        if (
            isinstance(node, ast.Assign)
            and ast.unparse(node.targets[0]) == "FLOORS"
            and isinstance(node.value, ast.Tuple)
        ):
            return [list(ast.literal_eval(row.value)) for row in node.value.elts if isinstance(row, ast.Starred)]
    raise LookupError("tests/test_import_directions.py has no tuple FLOORS")


def subject(room: str) -> str:
    """The first sentence that a room says of itself."""
    place = ROOT / "daemon" / "serviceoptd" / room
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    said = ast.get_docstring(ast.parse(file.read_text())) or ""
    return " ".join(said.split("\n\n")[0].split())


def rooms_and_floors() -> Picture:
    rows = floors()
    tall, apart, top = 30, 12, 70
    height = top + sum(len(row) * tall + apart for row in rows) + 34
    picture = Picture(960, height, "The rooms of the daemon in floors: each imports only what lies below it")
    picture.words(24, 34, "The floors of the daemon", 17, anchor="start", bold=True)
    picture.words(24, 54, "each room may import the rooms below it, and none above", 12, FAINT, "start")
    y = height - 34
    for number, row in enumerate(rows):
        fill = BLUE if number == 0 else GREEN
        for room in row:
            y -= tall
            picture.box(46, y, 116, tall - 6, fill)
            picture.words(104, y + 17, room, 13, bold=True)
            picture.words(176, y + 17, subject(room).replace("`", ""), 12, anchor="start")
        y -= apart
    picture.path(f"M26 {top} V{height - 40}")
    for index, (fill, text) in enumerate(((BLUE, "pure: decides and computes"), (GREEN, "reads files, or acts"))):
        picture.box(590 + 200 * index, 20, 16, 16, fill)
        picture.words(612 + 200 * index, 33, text, 12, FAINT, "start")
    picture.words(46, height - 14, "the journal, serviceopt_journal, lies below all of them", 12, FAINT, "start")
    return picture


PICTURES = {"one-evaluation": one_evaluation, "floors": rooms_and_floors, "swarm": swarm_over_its_models}


def draw(directory: Path) -> None:
    """Writes every picture to `directory`."""
    for name, picture in PICTURES.items():
        (directory / f"{name}.svg").write_text(picture().svg())


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
