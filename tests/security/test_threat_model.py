"""docs/threat-model.md names, for each attack, tests that are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs/threat-model.md"
NAMED = re.compile(r"`(tests/[\w/-]+\.py)(?:::(\w+))?`")
ATTACKERS = ("configuration", "engine output", "result file", "log", "journal file", "peer on the socket", "environment",
             "plugin")  # fmt: skip


def missing(file: str, test: str) -> str:
    """Why this is no test; empty where it is one."""
    path = ROOT / file
    if not path.is_file():
        return f"{file} is not there"
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    functions = {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)}
    return "" if not test or test in functions else f"{file} has no {test}"


def rows(text: str) -> dict[str, list[str]]:
    """The rows of the table below each heading, without its head."""
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    return {
        section.splitlines()[0]: [line for line in section.splitlines() if line.startswith("| ")][1:]
        for section in sections
    }


def test_every_test_that_is_named_is_there() -> None:
    named = [(match[1], match[2] or "") for match in NAMED.finditer(PAGE.read_text())]
    assert len(named) > 40
    assert [told for file, test in named if (told := missing(file, test))] == []


def test_a_test_that_is_not_there_is_noticed() -> None:
    assert missing("tests/security/test_threat_model.py", "test_a_test_that_is_not_there_is_noticed") == ""
    assert missing("tests/security/test_threat_model.py", "test_something_else") != ""
    assert missing("tests/security/nothing.py", "") != ""


def test_every_attacker_has_attacks_and_every_attack_a_test() -> None:
    found = rows(PAGE.read_text())
    for attacker in (*(f"Hostile {kind}" for kind in ATTACKERS), "Another local user"):
        assert found.get(attacker), attacker
        assert [row for row in found[attacker] if not NAMED.search(row.rsplit("|", 2)[1])] == []
