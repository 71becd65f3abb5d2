"""The pictures of docs/how-it-works.md are what their script draws, and need nothing from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

DOCS = Path(__file__).parent.parent / "docs"
PICTURES = DOCS / "pictures"


def test_the_pictures_are_what_the_script_draws(tmp_path: Path) -> None:
    subprocess.run([sys.executable, PICTURES / "draw.py", tmp_path], check=True)
    drawn = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert drawn
    assert drawn == {path.name: path.read_text() for path in PICTURES.glob("*.svg")}, "python docs/pictures/draw.py"


def test_every_picture_is_shown_and_described() -> None:
    shown = dict(re.findall(r"!\[([^]]+)\]\(pictures/([\w-]+\.svg)\)", (DOCS / "how-it-works.md").read_text()))
    assert sorted(shown.values()) == sorted(path.name for path in PICTURES.glob("*.svg"))
    assert [words for words in shown if len(words.split()) < 10] == []


def test_a_picture_is_well_formed_has_a_title_and_loads_nothing() -> None:
    for path in PICTURES.glob("*.svg"):
        root = ElementTree.parse(path).getroot()  # noqa: S314 (our own file)
        assert root.findtext("{http://www.w3.org/2000/svg}title")
        text = path.read_text().replace('xmlns="http://www.w3.org/2000/svg"', "").replace("url(#head)", "")
        assert not re.search(r"href|url\(|http|@import", text)
