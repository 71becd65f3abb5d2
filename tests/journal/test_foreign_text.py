"""What nobody would see in a text is shown, taken out, or kept for programs alone."""

from __future__ import annotations

import json
import sys
import unicodedata

import pytest

from serviceopt_journal.unseen import visible, visible_json, without_unseen
from unseen import EVIL, unseen

EVERY_CHARACTER = "".join(chr(code) for code in range(sys.maxunicode + 1))


def test_of_all_of_unicode_nothing_stays_that_cannot_be_seen() -> None:
    assert unseen(visible(EVERY_CHARACTER)) == unseen(without_unseen(EVERY_CHARACTER)) == []
    assert unseen(EVIL)


def test_everything_that_can_be_seen_stays_as_it_is() -> None:
    letters = {c for c in EVERY_CHARACTER if unicodedata.category(c)[0] in "LNPS"} - {
        "\u115f",
        "\u1160",
        "\u2800",
        "\u3164",
        "\uffa0",
    }
    kept = "".join(sorted(letters)) + "\n\t \u00a0\u3000 \u26a0\ufe0f \u05e9\u05d2 \u8c03\u4f18"
    assert visible(kept) == without_unseen(kept) == kept


@pytest.mark.parametrize(
    ("character", "shown"),
    [("\x1b", r"\x1b"), ("\x9b", r"\x9b"), ("\u202e", r"\u202e"), ("\u200b", r"\u200b"), ("\U000e0041", r"\U000e0041")],
)
def test_what_cannot_be_seen_is_told_as_programmers_write_it(character: str, shown: str) -> None:
    assert visible(f"a{character}b") == f"a{shown}b"
    assert without_unseen(f"a{character}b") == "ab"


def test_json_says_the_same_to_a_program() -> None:
    document = {EVIL: [EVIL, "\u8c03\u4f18", "\U000e0041"]}
    told = visible_json(json.dumps(document, ensure_ascii=False))
    assert unseen(told) == []
    assert "\u8c03\u4f18" in told
    assert json.loads(told) == document
