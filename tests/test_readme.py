"""README.zh.md says what README.md says."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
ENGLISH, CHINESE = ((ROOT / name).read_text() for name in ("README.md", "README.zh.md"))


def code(text: str) -> list[str]:
    return re.findall(r"^```.*?^```", text, re.MULTILINE | re.DOTALL)


def links(text: str) -> list[str]:
    return [target for target in re.findall(r"\]\(([^)]+)\)", text) if not target.startswith("README")]


def test_both_have_the_same_code_tables_headings_and_links() -> None:
    assert code(ENGLISH) == code(CHINESE)
    assert links(ENGLISH) == links(CHINESE)
    for start in ("#", "|", "* "):
        count = [sum(line.startswith(start) for line in text.splitlines()) for text in (ENGLISH, CHINESE)]
        assert count[0] == count[1], start


def test_every_page_that_they_link_is_there() -> None:
    assert [target for target in links(ENGLISH) if not (ROOT / target).exists()] == []


def test_the_chinese_one_is_chinese() -> None:
    assert len(re.findall(r"[\u4e00-\u9fff]", CHINESE)) > 500
