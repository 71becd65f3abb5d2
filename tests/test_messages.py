"""What a user reads says it in words that need no knowledge of this project: no idiom that was found once comes back."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from messages import PACKAGES, ROOT, messages

IDIOMS = {
    r"\b(is|are) no [a-z]+": "is not a ...",
    r"\bnot told\b": "cannot be distinguished from ..., is unknown, is missing",
    r"\btold apart\b": "distinguished",
    r"\btells? (nothing|nowhere|why|whether|how)\b": "shows, says, reports",
    r"\bis told\b": "is shown, is known",
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\bas it is\b": "unchanged",
    r"\blook(ed|s|ing)? for (a|the|it|[{*/])": "search for",
    r"\blook whether\b": "check whether",
    r"\bdescribe the (client|service) there\b": "which keys to give",
    r"\bis not one(:|$)": "what it is not, and why",
    r"\bcalled so\b": "has this name",
    r"\bis there twice\b": "is listed twice",
    r"\banother('s| one's)\b": "belongs to another ...",
    r"\basked for (was|were)\b": "expected",
    r"\b(of|to|for) ours\b": "serviceopt's, or what it is",
    r"\bsomebody else\b": "another process, another user; not serviceopt",
    r"\bleads nowhere\b": "names no value",
    r"\bdoes not tell\b": "does not contain, does not report",
    r"\bare the least\b": "at least ... are needed",
    r"\bspoken there\b": "the server speaks ...",
    r"\bbelongs into\b": "belongs in",
    r"^Of (the|a|an) ": "a sentence, or a phrase with its noun",
}
"""What must not be read on a screen, and what says it better. An exception needs another word, not a longer pattern."""

FINE = re.compile(r"there (is|are) no|\bno (longer|more|such)|is no (longer|more|room|permission)")


def texts() -> Iterator[tuple[str, str]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for line, text in messages(path):
                yield f"{path.relative_to(ROOT)}:{line}", text


def generated() -> Iterator[tuple[str, str]]:
    """The pages that are made of docstrings and comments, which a user reads too."""
    for page in ("events.md", "api.md", "cli.md"):
        for line, text in enumerate((ROOT / "docs" / page).read_text().splitlines(), start=1):
            yield f"docs/{page}:{line}", text


TEXTS = list(texts())


@pytest.mark.parametrize("idiom", IDIOMS)
def test_no_message_has_an_idiom_that_only_its_author_understands(idiom: str) -> None:
    found = [f"{place}: {text}" for place, text in (*TEXTS, *generated()) if re.search(idiom, FINE.sub("", text))]
    assert not found, f"better: {IDIOMS[idiom]}"


@pytest.mark.parametrize(
    "text",
    [
        "3 is no port: 1 to 65535",
        "not told from 2 others",
        "mend what is wrong",
        "Of the tuning",
        "looked for a/**/b.py",
    ],
)
def test_such_an_idiom_is_noticed(text: str) -> None:
    assert any(re.search(idiom, FINE.sub("", text)) for idiom in IDIOMS)


def test_the_messages_are_found_where_they_are() -> None:
    places = {place.partition(":")[0].split("/")[0] for place, _ in TEXTS}
    assert places == {package.split("/")[0] for package in PACKAGES}
