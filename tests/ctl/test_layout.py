"""Tables and lines on a narrow terminal: nothing is broken inside a number or, in a path, inside a word."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serviceoptctl.render.layout import columns, folded, labelled_lines, laid_out
from serviceoptctl.render.text import wrapped

NUMBERS = [
    "1205 tok/s",
    "TTFT 57.4 ms",
    "99.9 %",
    "27,582,945,000",
    "MAX_NUM_BATCHED_TOKENS=65536",
    "-10.6 %",
    "8.07 req/s",
]
PATH = "/srv/serviceopt/state/runs/17/evaluations/203/service-of-the-evaluation.log"


def quantities(text: str) -> list[str]:
    return re.findall(r"[-+]?\d[\d.,]*(?: (?:tok/s|req/s|ms|s|%))?", text)


@given(
    st.lists(st.sampled_from([*NUMBERS, "between", "measured", "(simulated)", PATH]), min_size=1), st.integers(30, 120)
)
def test_no_line_is_wider_than_the_room_and_no_number_is_broken(words: list[str], room: int) -> None:
    line = " ".join(words)
    shown = folded(line, room)
    assert all(columns(each) <= room for each in shown)
    assert "".join(shown).replace(" ", "") == line.replace(" ", "")
    assert [q for each in shown for q in quantities(each)] == quantities(line)


def test_a_number_stays_with_its_unit() -> None:
    assert folded("p95 52.9 ms, p99 57.4 ms", 22) == ["p95 52.9 ms,", "p99 57.4 ms"]
    assert folded("noise of one measurement 2 %) x", 27) == ["noise of one measurement", "2 %) x"]


@pytest.mark.parametrize(
    ("line", "room", "shown"),
    [
        ("every SLO met (particle 12, measured once)", 23, ["every SLO met", "(particle 12, measured", "once)"]),
        ("budget used (6 configurations)", 18, ["budget used", "(6 configurations)"]),
        ("mean TPOT 0.0923 s > 0.05 s", 21, ["mean TPOT 0.0923 s", "> 0.05 s"]),
        ("p50 2.89 s, p90 2.89 s", 16, ["p50 2.89 s,", "p90 2.89 s"]),
    ],
)
def test_a_number_stays_with_what_it_counts_or_limits(line: str, room: int, shown: list[str]) -> None:
    assert folded(line, room) == shown


@given(
    st.lists(
        st.sampled_from(["夜间寻优", "模型库", "（吞吐）", "，", "MAX", "2048", "0123456789", "_seqs", "）", "。"]),
        min_size=1,
    ),
    st.integers(24, 60),
)  # fmt: skip
def test_words_of_wide_characters_are_broken_between_them_and_never_inside_a_number(
    parts: list[str], room: int
) -> None:
    word = "".join(parts)
    shown = folded(word, room)
    assert "".join(shown) == word
    assert all(columns(line) <= room for line in shown)
    if max((len(number) for number in re.findall(r"\d+", word)), default=0) <= room:
        assert [number for line in shown for number in re.findall(r"\d+", line)] == re.findall(r"\d+", word)


def test_no_line_begins_with_a_closing_mark() -> None:
    assert folded("模型库，模型库）", 6) == ["模型", "库，模", "型库）"]


def test_a_path_is_broken_behind_a_slash_only() -> None:
    assert folded(PATH, 40) == ["/srv/serviceopt/state/runs/17/", "evaluations/203/", "service-of-the-evaluation.log"]


def test_a_word_without_marks_is_broken_at_the_edge_and_chinese_counts_twice() -> None:
    assert folded("a" * 65, 30) == ["a" * 30, "a" * 30, "a" * 5]
    assert folded("调优" * 10, 20) == ["调优" * 5, "调优" * 5]


HEADERS = ("RUN", "NAME", "STATUS", "ENGINE", "CONFIGURATIONS", "BEST", "SLO", "SUBMITTED")
ROW = (
    "117",
    "overnight",
    "interrupted",
    "simulated",
    "1050/2000",
    "12065 tok/s (simulated)",
    "broken",
    "2026-11-29 01:46",
)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_the_list_of_runs_fits_and_keeps_every_number_whole(width: int) -> None:
    shown = laid_out(HEADERS, [ROW, ROW], width)
    lines = [*shown.headers, *shown.rows]
    assert all(columns(line) <= width for line in lines)
    text = "\n".join(lines)
    for whole in ("117", "1050/2000", "12065 tok/s", "2026-11-29", "01:46", "overnight"):
        assert text.count(whole) == 2, whole


@given(
    st.lists(
        st.tuples(*[st.sampled_from([*NUMBERS, "-", "enum", "a phrase of many words, with 1.25 s in it", PATH])] * 4),
        min_size=1, max_size=4,
    ),
    st.integers(40, 120),
)  # fmt: skip
def test_a_table_of_awkward_values_fits_and_loses_nothing(rows: list[tuple[str, ...]], width: int) -> None:
    shown = laid_out(("PARTICLE", "EVALUATION", "PARAMETERS", "RESULT"), rows, width)
    lines = [*shown.headers, *shown.rows]
    assert all(columns(line) <= width for line in lines)
    text = " ".join(lines)
    for row in rows:
        for cell in row:
            assert all(found in text for found in quantities(cell) if cell != PATH)


def test_a_table_in_a_pipe_is_whole() -> None:
    shown = laid_out(("A", "B"), [("x" * 300, "1"), ("y", "2")], None)
    assert shown.rows == ["x" * 300 + "  1", "y" + " " * 301 + "2"]


def test_on_a_narrow_terminal_labels_stand_above_their_text() -> None:
    assert list(labelled_lines([("current setting", "1239 tok/s, TTFT 338 ms, every SLO met")], 38)) == [
        ("current setting:", ""), ("  ", "1239 tok/s, TTFT 338 ms, every SLO"), ("  ", "met"),
    ]  # fmt: skip


def test_errors_and_notes_are_folded_too_and_continued_lines_are_indented() -> None:
    text = wrapped(f"error: cannot read {PATH}: 57.4 ms\nsecond", 40)
    assert all(columns(line) <= 40 for line in text.split("\n"))
    assert text.split("\n")[0].startswith("error: cannot read")
    assert text.split("\n")[1].startswith("  /srv/serviceopt/")
    assert text.endswith("57.4 ms\nsecond")
    assert wrapped(PATH * 9, None) == PATH * 9
