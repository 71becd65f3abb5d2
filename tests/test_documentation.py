"""The pages of docs/ lead somewhere, stay short, and keep their evidence: links, anchors, named files, words, figures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from serviceoptd.toolkit.earlier_names import MOVED

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
EVIDENCE = sorted(page for page in (DOCS / "evidence").glob("*.md") if page.name != "README.md")
SOURCES = sorted(path for room in ("daemon", "ctl", "journal", "tests", "docs") for path in (ROOT / room).rglob("*.py"))
MOST_WORDS = {
    "how-it-works.md": 1500,
    "design.md": 940,
    "search.md": 2500,
    "simulation.md": 2500,
    "latency-model.md": 2500,
    "rejection.md": 1500,
    "early-stopping.md": 1500,
    "proof.md": 1500,
}
MOST_WORDS_OF_A_PARAGRAPH = 85
DENSE = ("CHANGELOG.md", "api.md", "cli.md", "events.md", "guarantees.md", "migration.md", "why.md")
"""Generated pages, and those that were read and found good as they are."""
FILES_OF_OTHERS = frozenset(
    {
        "docs/features/nixl_connector_usage.md",  # vLLM
        "tests/v1/kv_connector/nixl_integration/toy_proxy_server.py",  # vLLM
        "vllm/benchmarks/serve.py",  # vLLM
        "serving_bench.py",  # the bench of landscapes, which is given by its directory
    }
)
SHORT_PARAGRAPHS = [page for page in PAGES if page.name not in DENSE]


def names(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(text: str) -> str:
    """The text without its code blocks and code spans, whose brackets are no links."""
    without_blocks = re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "code", without_blocks)


def links(text: str) -> list[str]:
    found = re.findall(r"\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)", prose(text))
    return [target for target in found if not re.match(r"[a-z]+:", target)]


def anchors(text: str) -> set[str]:
    """The anchors of the headings, as hosting services make them: the second of two equal ones gets a number."""
    without_blocks = re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.MULTILINE | re.DOTALL)
    found: dict[str, int] = {}
    result = set()
    for heading in re.findall(r"^#{1,6} +(.*?) *#*$", without_blocks, re.MULTILINE):
        shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        seen = found[anchor] = found.get(anchor, -1) + 1
        result.add(f"{anchor}-{seen}" if seen else anchor)
    return result


def broken(link: str, page: Path) -> str:
    """Why a link leads nowhere; empty where it leads somewhere."""
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.is_relative_to(ROOT) or not target.exists():
        return "no such file in the repository"
    if anchor and anchor not in anchors(target.read_text()):
        return f"no such heading in {target.name}"
    return ""


def paragraphs(text: str) -> list[str]:
    """Runs of prose: items of lists count each for itself, tables and code blocks not at all."""
    without_blocks = re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.MULTILINE | re.DOTALL)
    blocks = re.split(r"\n\s*\n|\n(?= *(?:[*-]|\d+\.) )", without_blocks)
    return [block for block in blocks if block.strip() and not re.match(r"\s*\|| {4}", block)]


def test_links_and_anchors_are_read_as_hosting_services_read_them() -> None:
    page = (
        "# The `pso` swarm\n## Names, of things\n## Names, of things\n```\n# no [x](gone.md)\n```\n[a](b.md#c) `[x](y)`"
    )
    assert anchors(page) == {"the-pso-swarm", "names-of-things", "names-of-things-1"}
    assert links(page) == ["b.md#c"]


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(page: Path) -> None:
    wrong = {link: reason for link in links(page.read_text()) if (reason := broken(link, page))}
    assert wrong == {}


def test_every_page_that_code_names_is_there() -> None:
    wrong = []
    for source in SOURCES:
        for link in re.findall(r"\bdocs/[\w./-]+\.md(?:#[\w-]+)?", source.read_text()):
            if link not in FILES_OF_OTHERS and (reason := broken(link, ROOT / "README.md")):
                wrong.append(f"{names(source)}: {link}: {reason}")
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_every_module_that_a_page_names_is_there(page: Path) -> None:
    known = [names(path) for path in SOURCES]
    named = set(re.findall(r"`((?:[\w-]+/)*\w+\.py)\b", page.read_text())) - FILES_OF_OTHERS
    assert [name for name in named if not any(f"/{path}".endswith(f"/{name}") for path in known)] == []


def defined(dotted: str) -> bool:
    """Whether `serviceoptd.room.module`, or a name in it, is there."""
    package, *parts = dotted.split(".")
    place = ROOT / {"serviceopt_journal": "journal", "serviceoptd": "daemon", "serviceoptctl": "ctl"}[package] / package
    while parts and (place / parts[0]).is_dir():
        place = place / parts.pop(0)
    if parts and (place / f"{parts[0]}.py").exists():
        place = place / f"{parts.pop(0)}.py"
    file = place if place.is_file() else place / "__init__.py"
    return not parts or (len(parts) == 1 and re.search(rf"\b{parts[0]}\b", file.read_text()) is not None)


def test_dotted_names_are_looked_up_as_python_does() -> None:
    assert defined("serviceoptd.domain.policy")
    assert defined("serviceoptd.domain.policy.next_action")
    assert not defined("serviceoptd.domain.policy.last_action")
    assert not defined("serviceoptd.politics.policy")


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_every_dotted_name_on_a_page_is_there(page: Path) -> None:
    named = re.findall(r"`(serviceopt(?:d|ctl|_journal)(?:\.\w+)+)`", page.read_text())
    others = {*MOVED, "serviceoptd.sock"}  # earlier names, which plugins.md lists, and a file
    assert [name for name in named if name not in others and not defined(name)] == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, new = set(), {ROOT / "README.md"}
    while new:
        reached |= new
        targets = {(page.parent / link.partition("#")[0]).resolve() for page in new for link in links(page.read_text())}
        new = {target for target in targets if target.suffix == ".md" and target.exists()} - reached
    examples = DOCS / "examples"
    assert [names(page) for page in DOCS.rglob("*.md") if page not in reached and examples not in page.parents] == []


@pytest.mark.parametrize(("name", "most"), MOST_WORDS.items())
def test_a_page_stays_short(name: str, most: int) -> None:
    assert len((DOCS / name).read_text().split()) < most


@pytest.mark.parametrize("page", SHORT_PARAGRAPHS, ids=names)
def test_no_paragraph_is_long(page: Path) -> None:
    long = [block[:60] for block in paragraphs(page.read_text()) if len(block.split()) > MOST_WORDS_OF_A_PARAGRAPH]
    assert long == []


@pytest.mark.parametrize("page", EVIDENCE, ids=names)
def test_a_page_of_evidence_has_one_claim_a_command_and_figures(page: Path) -> None:
    text = page.read_text()
    claim, before_the_next = text.partition("\n")[0], text.split("\n## ")[0]
    assert re.match(r"# [A-Z].* .* ", claim), "the title is the claim"
    assert re.search(r"^ {4}(?:PYTHONPATH=\S+ )?(?:python|serviceoptctl|make|pytest) ", before_the_next, re.MULTILINE)
    rows = re.findall(r"^\|.*\d.*\|$", text, re.MULTILINE)
    assert len(rows) >= 1, "a table with figures"


@pytest.mark.parametrize("page", EVIDENCE, ids=names)
def test_what_a_page_of_evidence_runs_is_there(page: Path) -> None:
    programs = re.findall(r"^ {4}.*?\b(tests/[\w/]+\.py)", page.read_text(), re.MULTILINE)
    assert [program for program in programs if not (ROOT / program).exists()] == []


def test_the_index_of_the_evidence_lists_every_page() -> None:
    index = links((DOCS / "evidence" / "README.md").read_text())
    assert [page.name for page in EVIDENCE if page.name not in index] == []
