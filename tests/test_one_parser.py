"""JSON and whole numbers that somebody else wrote are read in one place, which knows how deep and how long they may be."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serviceopt_journal import foreign_text
from serviceopt_journal.foreign_text import LARGEST_NUMBER, json_value, whole_number

ROOT = Path(__file__).parent.parent
PACKAGES = ("daemon/serviceoptd", "journal/serviceopt_journal", "ctl/serviceoptctl")
OURS = "what we wrote ourselves, and is checked by its digest or by the journal's chain"
ALLOWED = {
    "journal/serviceopt_journal/foreign_text.py": "the one place",
    "daemon/serviceoptd/predicting/inside_vllm/virtual_scheduler.py": "runs inside vLLM, and is asked by us",
    "daemon/serviceoptd/simulation/step_times/boosting.py": "what xgboost prints",
    "daemon/serviceoptd/doctor/unit_probe.py": "what its starter, which is ours, hands to it",
    "daemon/serviceoptd/evaluating/context.py": OURS,
    "daemon/serviceoptd/io/environment_file.py": OURS,
    "daemon/serviceoptd/evaluating/keeping/pruning.py": "names of our own directories",
    "daemon/serviceoptd/io/process_table.py": "names of the kernel's",
    "ctl/serviceoptctl/options.py": "looked at, and never converted",
    "ctl/serviceoptctl/render/text.py": "falls back to the text as it is, whatever it is",
}
"""Module -> why it reads these itself."""


def readings(source: str) -> Iterator[int]:
    """The lines that read JSON, or ask whether a text is a number."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(value=ast.Name(id="json"), attr="loads" | "load"):
                yield node.lineno
            case ast.Attribute(attr="isdecimal" | "isdigit" | "isnumeric"):
                yield node.lineno


@pytest.mark.parametrize("source", ["json.loads(x)", "json.load(x)", "x.isdigit()", "x.isdecimal()", "f(json.loads)"])
def test_each_way_to_read_one_is_seen(source: str) -> None:
    assert list(readings(source)) == [1]


def test_they_are_read_in_one_place() -> None:
    found = {
        f"{path.relative_to(ROOT)}": lines
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if (lines := list(readings(path.read_text())))
    }
    assert {path: lines for path, lines in found.items() if path not in ALLOWED} == {}, (
        "use json_value and whole_number of serviceopt_journal.foreign_text: Python's own raise RecursionError for what is "
        "deep, and refuse more than 4,300 digits in words of their own"
    )
    assert sorted(set(ALLOWED) - set(found)) == [], "nothing is read there any more"


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "9" * 5000, "{", b"\xff", "", "\ud800"])
def test_what_is_not_json_is_a_value_error_however_deep_or_long(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        json_value(text)


@pytest.mark.parametrize("value", [None, [1, {"a": "é"}], 10**400, "\ud800"])
def test_json_is_what_python_reads(value: object) -> None:
    assert json_value(json.dumps(value)) == value
    assert json_value(json.dumps(value).encode()) == value


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([10**400, "\ud800", "\0", 2**64]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=9), inner, max_size=5),
    max_leaves=40,
)


@given(JSON, st.sampled_from([1, 16, 1024]), st.booleans(), st.sampled_from([None, 2]))
def test_in_whatever_pieces_it_is_read_it_says_the_same(
    value: object, piece: int, ascii_only: bool, indent: int | None
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    with patch.object(foreign_text, "PIECE", piece):
        assert repr(json_value(text)) == repr(json.loads(text))
        if ascii_only:
            assert repr(json_value(text.encode())) == repr(json.loads(text))


@given(JSON, st.sampled_from([1, 16]), st.data())
def test_what_is_cut_off_is_told_as_python_tells_it(value: object, piece: int, data: st.DataObject) -> None:
    text = json.dumps(value)
    cut = text[: data.draw(st.integers(0, max(0, len(text) - 1)))]
    with patch.object(foreign_text, "PIECE", piece):
        try:
            told = repr(json.loads(cut))
        except ValueError as error:
            with pytest.raises(ValueError, match=re.escape(str(error))):
                json_value(cut)
        else:
            assert repr(json_value(cut)) == told


def test_of_a_large_result_no_call_makes_more_than_a_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter's lock is held as long as a call lasts: of 40 MiB a second and more, and the loop stands still."""
    made: list[int] = []
    decode = msgspec.json.decode

    def noted(raw: Any, **how: Any) -> Any:
        if not how:
            made.append(len(memoryview(raw)))
        return decode(raw, **how)

    gaps = [[0.01 + n / 1e7 for n in range(1000)] for _ in range(300)]
    text = json.dumps({"itls": gaps, "errors": [""] * 300}).encode()
    assert len(text) > 3 * foreign_text.PIECE
    monkeypatch.setattr(msgspec.json, "decode", noted)
    assert json_value(text)["itls"] == gaps
    assert max(made) <= foreign_text.PIECE


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("007", 7), (str(LARGEST_NUMBER), LARGEST_NUMBER), (str(LARGEST_NUMBER + 1), None), ("9" * 5000, None),
     ("", None), ("-1", None), ("1.0", None), (" 1", None), ("1_0", None), ("²", None), ("٣", 3)],
)  # fmt: skip
def test_a_whole_number_is_digits_of_at_most_64_bits(text: str, number: int | None) -> None:
    assert whole_number(text) == number
