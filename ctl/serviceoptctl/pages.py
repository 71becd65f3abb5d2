"""The documentation that is installed with the program: pages by name, sections by their heading."""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path

from serviceopt_journal.errors import NotFound

INSTALLED = Path(__file__).with_name("docs")
IN_A_CHECKOUT = Path(__file__).parents[2] / "docs"
HEADING = re.compile(r"^(#+) +(.+?)\s*$")


def directory() -> Path:
    """Where the pages are: in the installed package, or in the checkout that an editable installation runs from.

    Raises:
        NotFound: neither is there.
    """
    for place in (INSTALLED, IN_A_CHECKOUT):
        if (place / "configuration.md").is_file():
            return place
    raise NotFound("the documentation is not installed", hint="install serviceopt from its wheel or its checkout")


def topics() -> dict[str, str]:
    """Every page by its name, with its title; pages of evidence as `evidence/NAME`."""
    place = directory()
    paths = [*sorted(place.glob("*.md")), *sorted(place.glob("evidence/*.md"))]
    names = {str(path.relative_to(place).with_suffix("")).replace("/README", ""): path for path in paths}
    return {name: path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ") for name, path in names.items()}


def page(topic: str) -> str:
    """The text of a page, in Markdown, or of one section of it: `engines`, `engines#command`.

    Raises:
        NotFound: there is no such page, or no such section in it; names the closest.
    """
    name, _, section = topic.removeprefix("docs/").partition("#")
    name = name.removesuffix(".md")
    known = topics()
    if name not in known:
        close = get_close_matches(name, known, n=1)
        raise NotFound(
            f"there is no page {name!r}" + (f", did you mean `{close[0]}`?" if close else ""),
            hint="`serviceoptctl docs` lists them",
        )
    path = directory() / f"{name}.md"
    text = (path if path.is_file() else directory() / name / "README.md").read_text(encoding="utf-8")
    return _section(text, name, section) if section else text


def _section(text: str, name: str, wanted: str) -> str:
    lines, code = text.splitlines(keepends=True), False
    headings: dict[str, tuple[int, int]] = {}  # anchor -> line, level
    for number, line in enumerate(lines):
        code ^= line.lstrip().startswith("```")
        if not code and (match := HEADING.match(line)):
            headings.setdefault(anchor(match[2]), (number, len(match[1])))
    if wanted not in headings:
        close = get_close_matches(wanted, headings, n=1)
        raise NotFound(
            f"the page {name} has no section {wanted!r}" + (f", did you mean `{close[0]}`?" if close else ""),
            hint=f"`serviceoptctl docs {name}` shows all of it",
        )
    start, level = headings[wanted]
    end = min((n for n, its in headings.values() if n > start and its <= level), default=len(lines))
    return "".join(lines[start:end])


def anchor(heading: str) -> str:
    """The anchor that hosting services give a heading."""
    plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
