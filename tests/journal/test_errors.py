"""An error's text can be stored, shown and read, whatever it quotes."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serviceopt_journal.errors import LONGEST_LINE, MOST_LINES, ServiceoptError
from serviceopt_journal.unseen import visible


def all_seen(text: str) -> bool:
    return visible(text) == text


@pytest.mark.parametrize(
    ("quoted", "told"),
    [
        ("\ud800", r"\ud800"), ("\x1b[2J", r"\x1b[2J"), ("\x9b31m", r"\x9b31m"), ("\u202e", r"\u202e"), ("\0", r"\x00"),
        ("\r", r"\x0d"), ("\u2028", r"\u2028"), ("\x7f", r"\x7f"), ("\u200b", r"\u200b"), ("\U000e0041", r"\U000e0041"),
    ],
)  # fmt: skip
def test_what_no_event_can_hold_or_a_terminal_obeys_is_replaced(quoted: str, told: str) -> None:
    error = ServiceoptError(f"the client said {quoted}x", hint=f"see {quoted}x")
    shown = f"the client said {told}x"
    assert (str(error), error.message) == (shown, shown)
    assert quoted[0] not in error.hint
    assert msgspec.json.decode(msgspec.json.encode(error.message)) == shown


def test_a_long_line_keeps_its_beginning_and_its_end() -> None:
    error = ServiceoptError("config.toml:7: key: " + "x" * 1_000_000 + " is no number")
    assert error.message.startswith("config.toml:7: key: xxx")
    assert error.message.endswith("xxx is no number")
    assert "characters ...]" in error.message
    assert len(error.message) < LONGEST_LINE + 40


def test_of_many_lines_the_first_are_told_and_the_rest_counted() -> None:
    lines = ServiceoptError("\n".join(f"problem {n}" for n in range(5000))).message.split("\n")
    assert lines[: MOST_LINES + 1] == [*(f"problem {n}" for n in range(MOST_LINES)), "... and 4800 more lines"]


@given(st.text(st.characters(exclude_categories=("Cc", "Cs", "Cf", "Zl", "Zp")), max_size=200).filter(all_seen))
def test_a_usual_text_stays_as_it_is(text: str) -> None:
    assert ServiceoptError(f"{text}\n\t{text}", hint=text).message == f"{text}\n\t{text}"
