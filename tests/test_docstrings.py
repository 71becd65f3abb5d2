"""Every public name says what it promises in a sentence that stands without the name above it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from messages import PACKAGES, ROOT

Definition = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
FEWEST_WORDS = 4
COMPLETES_THE_NAME = re.compile(
    r"(Of|As the|As `|Some of|See `|From|Above|Below|None[:;.]|The module\.|The same|For|Everything\.|Likewise|With|To be|"
    r"Its|Their|Those|All of it|Nothing but|In process|It is|(How|Why|What|Where|That|Whether) it)\b"
)
"""How a docstring begins that is read only together with the name: `def latency: "Of the mean."`"""


class Documented(NamedTuple):
    place: str
    name: str
    text: str
    inherited: bool
    """Whether it stands in a class, and so may be promised by the interface that the class implements."""


def names(path: Path) -> Iterator[Documented]:
    """Every public name of a file; of a class its public methods and inner classes too, of a function nothing inside."""
    yield from _below(ast.parse(path.read_text()), str(path.relative_to(ROOT)), in_class=False)


def _below(node: Definition, place: str, *, in_class: bool) -> Iterator[Documented]:
    name = getattr(node, "name", "")
    yield Documented(f"{place}:{getattr(node, 'lineno', 1)}", name, ast.get_docstring(node) or "", in_class)
    if isinstance(node, ast.Module | ast.ClassDef):
        for inner in node.body:
            if isinstance(inner, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not inner.name.startswith(
                "_"
            ):
                yield from _below(inner, place, in_class=isinstance(node, ast.ClassDef))


def first_sentence(text: str) -> str:
    return re.split(r"(?<=[.!?])\s|\n\n", text.strip(), maxsplit=1)[0].replace("\n", " ")


def faults(text: str) -> list[str]:
    """What is wrong with a docstring, of what a program can see."""
    sentence = first_sentence(text)
    return [
        fault
        for fault, found in (
            ("begins with neither a capital nor code", not re.match(r"[A-Z`]", sentence)),
            ("ends without a full stop", not re.search(r"[.!?:]\)?$", sentence)),
            (f"has fewer than {FEWEST_WORDS} words", len(sentence.split()) < FEWEST_WORDS),
            ("completes the name", bool(COMPLETES_THE_NAME.match(sentence))),
        )
        if found
    ]


PATHS = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
DOCUMENTED = {path: list(names(path)) for path in PATHS}
PROMISED = {each.name for found in DOCUMENTED.values() for each in found if each.inherited and each.text}
"""Methods that some class documents. Another class that implements them need not say it again."""


@pytest.mark.parametrize("path", PATHS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_public_name_has_a_docstring_that_is_a_sentence(path: Path) -> None:
    found = []
    for place, name, text, inherited in DOCUMENTED[path]:
        if text:
            found += [f"{place}: {name}: {fault}: {first_sentence(text)}" for fault in faults(text)]
        elif not (inherited and name in PROMISED) and not name.startswith("test_"):  # a test's name is its sentence
            found += [f"{place}: {name}: has none"]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "text",
    ["Of the mean.", "As the interface says.", "The module.", "as a number of seconds.", "The port that it has", ""],
)
def test_a_docstring_that_is_none_is_noticed(text: str) -> None:
    assert faults(text)


def test_a_sentence_is_taken_as_one() -> None:
    assert not faults("The mean of the latencies (seconds); NaN where there are none.")
