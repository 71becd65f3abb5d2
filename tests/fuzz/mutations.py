"""Valid inputs, changed at random: texts, JSON documents and bytes."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

PIECES = (
    "", " ", "\t", "\n", "\r", "\r\n", "\n\n", "=", ".", ",", ";", ":", "#", "'", '"', "'''", '"""', "\\", "/", "%",
    "$", "`", "[", "]", "[[", "]]", "{", "}", "()", "<", "--", "-", "+", "*", "&&", "|", "$(x)", "${A}", "$A",
    "../..", "~", "{{x}}", "\0", "\x07", "\x1b[2J", "\x1b]0;x\x07", "\x7f", "\x85", "\x9b31m", "\u00a0", "\u200b",
    "\u202e", "\u2028", "\u2066", "\ufeff", "\uffff", "\U0001f600", "e\u0301" * 3, "\u212a", "\u0130",
    "\uff11\uff12", "\u00b2", "\u0661", "汉字", "nan", "-nan", "inf", "-inf", "Infinity", "1e400", "-1e400", "1e-400",
    "-0.0", "-1", "0", "1", "2", "1_000", "0x1F", "1e308", "9" * 19, "9" * 400, "9" * 5000, "1" + "0" * 4299,
    str(2**63), str(-(2**63) - 1), str(2**53 + 1), "0." + "0" * 400 + "1", "true", "false", "null", "None",
    "1979-05-27T07:32:00Z", "07:32:00", "token=x", "--api-key x", "password: y", "Bearer z", "https://a:b@c",
    "x" * 300, "x" * 70_000, "é" * 300, "a.b.c.d", ("a." * 300) + "a", "[" * 300, "\n" + '{"a":' * 20_000,
    "{a=" * 300, '{"a":' * 300, "=cmd|'/c calc'!A1", "@SUM(1)", "Traceback (most recent call last):",
    "CUDA out of memory", "Error: x", "le=", "Inf",
)  # fmt: skip
"""What parsers, terminals, spreadsheets and shells stumble over."""

NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, -0.0, 0.5, 1e308, -1e308, 1e-320, float("nan"), float("inf"), float("-inf"), 2**31,
    2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**400, -(10**400), 10**4000, "", " ", "0", "-1", "1e400", "nan",
    "12 ms", "x" * 3000, "\ud800", "\udfff\ud800", "\0", "\x1b[2J", "\u202e", "\n", "汉字", [], {}, [[]], [None],
    [{}], [1, "x"], {"a": 1}, {"": {}}, {"a": {"b": [1]}}, [0] * 200, ["x"] * 50, [float("nan")], [10**400],
    ["\ud800"], {"\ud800": 1}, {"total": {"total": 1}}, {"__db_ref__": 1},
)  # fmt: skip


@st.composite
def texts(draw: st.DrawFn, valid: Sequence[str], *, pieces: Sequence[str] = PIECES) -> str:
    """One of these texts after one to five changes of a place, a line, a number or a part."""
    text = draw(st.sampled_from(valid))
    for _ in range(draw(st.integers(1, 5))):
        if len(text) > 400_000:
            break
        text = draw(st.sampled_from(_TEXT_CHANGES))(draw, text, pieces)
    return text


def _inserted(draw: st.DrawFn, text: str, pieces: Sequence[str]) -> str:
    at = draw(st.integers(0, len(text)))
    return text[:at] + draw(st.sampled_from(pieces)) + text[at:]


def _replaced(draw: st.DrawFn, text: str, pieces: Sequence[str]) -> str:
    begin, end = _part(draw, text)
    return text[:begin] + draw(st.sampled_from(pieces)) + text[end:]


def _repeated(draw: st.DrawFn, text: str, pieces: Sequence[str]) -> str:
    begin, end = _part(draw, text)
    return text[:end] + text[begin:end] * draw(st.sampled_from((1, 2, 50, 500))) + text[end:]


def _cut(draw: st.DrawFn, text: str, pieces: Sequence[str]) -> str:
    return text[: draw(st.integers(0, len(text)))]


def _another_number(draw: st.DrawFn, text: str, pieces: Sequence[str]) -> str:
    found = list(NUMBER.finditer(text))
    if not found:
        return text
    match = draw(st.sampled_from(found))
    return text[: match.start()] + draw(st.sampled_from(pieces)) + text[match.end() :]


def _lines_moved(draw: st.DrawFn, text: str, pieces: Sequence[str]) -> str:
    lines = text.split("\n")
    one, other = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
    lines[one], lines[other] = lines[other], lines[one]
    if draw(st.booleans()):
        lines.insert(one, lines[other])
    return "\n".join(lines)


def _word_replaced(draw: st.DrawFn, text: str, pieces: Sequence[str]) -> str:
    words = list(re.finditer(r"\w+", text))
    if not words:
        return text
    word, other = draw(st.sampled_from(words)), draw(st.sampled_from(words))
    return text[: word.start()] + other[0] + text[word.end() :]


def _part(draw: st.DrawFn, text: str) -> tuple[int, int]:
    begin = draw(st.integers(0, len(text)))
    return begin, min(len(text), begin + draw(st.integers(0, 40)))


_TEXT_CHANGES: tuple[Callable[[st.DrawFn, str, Sequence[str]], str], ...] = (
    _inserted, _replaced, _repeated, _cut, _another_number, _lines_moved, _word_replaced,
)  # fmt: skip


@st.composite
def documents(draw: st.DrawFn, valid: Sequence[Any]) -> bytes:
    """One of these JSON documents with one to four of its values, keys or items changed, as bytes; rarely as broken text."""
    document = copy.deepcopy(draw(st.sampled_from(valid)))
    for _ in range(draw(st.sampled_from((1, 1, 1, 2, 4)))):
        document = _changed(draw, document)
    text = json.dumps(document)
    if draw(st.integers(0, 9)) == 0:
        text = draw(texts([text]))
    encoded = text.encode(errors="surrogatepass")
    return draw(changed_bytes([encoded])) if draw(st.integers(0, 9)) == 0 else encoded


def _changed(draw: st.DrawFn, document: Any) -> Any:
    """The document with one change, at a place that is chosen step by step: deep ones are reached, too."""
    if not isinstance(document, dict | list) or not document or draw(st.integers(0, 40)) == 0:
        return copy.deepcopy(draw(st.sampled_from(VALUES)))
    key = (
        draw(st.sampled_from(list(document))) if isinstance(document, dict) else draw(st.integers(0, len(document) - 1))
    )
    what = draw(st.sampled_from(("deeper",) * 12 + ("value", "value", "value", "gone", "also", "swapped")))
    if what == "deeper" and isinstance(document[key], dict | list):
        document[key] = _changed(draw, document[key])
    elif what == "gone":
        del document[key]
    elif what == "also" and isinstance(document, dict):
        document[draw(st.sampled_from(("", "x", "total", f"{key}_", "\ud800", "p101_ttft_ms", "p1e9_tpot_ms")))] = (
            copy.deepcopy(document[key])
        )
    elif what == "also":
        document.extend(copy.deepcopy(document[key]) for _ in range(draw(st.sampled_from((1, 3, 100)))))
    elif what == "swapped":
        other = draw(st.sampled_from(list(document))) if isinstance(document, dict) else 0
        document[key], document[other] = document[other], document[key]
    else:
        document[key] = copy.deepcopy(draw(st.sampled_from(VALUES)))
    return document


@st.composite
def changed_bytes(draw: st.DrawFn, valid: Sequence[bytes]) -> bytes:
    """One of these after one to four changes: flipped bits, other bytes, cut, doubled, emptied."""
    content = bytearray(draw(st.sampled_from(valid)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        size = draw(st.sampled_from((1, 2, 4, 16, 100, 4096)))
        match draw(st.sampled_from(("flip", "flip", "set", "zero", "cut", "insert", "double", "swap", "drop"))):
            case "flip" if content:
                content[at] ^= 1 << draw(st.integers(0, 7))
            case "set" if content:
                content[at] = draw(st.integers(0, 255))
            case "zero":
                content[at : at + size] = bytes(len(content[at : at + size]))
            case "cut":
                del content[at:]
            case "insert":
                content[at:at] = draw(st.binary(max_size=20))
            case "double":
                content[at:at] = content[at : at + size]
            case "swap":
                other = draw(st.integers(0, max(0, len(content) - 1)))
                one, two = bytes(content[at : at + size]), bytes(content[other : other + size])
                content[at : at + len(two)], content[other : other + len(one)] = two, one
            case "drop":
                del content[at : at + size]
    return bytes(content)
