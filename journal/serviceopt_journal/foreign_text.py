"""Text that somebody else wrote: read as UTF-8, with a word on what is not.

JSON and numbers in it are read here, too, since either can be larger or deeper than Python reads. How it is shown:
`unseen.py`.
"""

from __future__ import annotations

import codecs
import shlex
from pathlib import Path
from typing import Any

import msgspec

from .errors import InvalidConfiguration

_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"), (codecs.BOM_UTF32_BE, "UTF-32"),  # before UTF-16, whose mark begins alike
    (codecs.BOM_UTF16_LE, "UTF-16"), (codecs.BOM_UTF16_BE, "UTF-16"),
)  # fmt: skip


LARGEST_NUMBER = 2**63 - 1
PIECE = 1024 * 1024
"""Bytes of a JSON text that are read by one call, during which no other thread of this process runs."""


class NotText(InvalidConfiguration):
    """A file is not text in UTF-8; the hint is the command that makes it that."""

    def __init__(self, path: Path, line: int, what: str, hint: str) -> None:
        """`line`: the first one that is not, from 1; `what`: is wrong with it."""
        super().__init__(f"{path}:{line}: {what}", hint=hint)
        self.line, self.what = line, what


def decoded(content: bytes, path: Path) -> str:
    """The text of a file; a mark at its beginning, as some editors write it, is left out.

    Raises:
        NotText: it is in another encoding, or is no text.
    """
    try:
        text = content.decode("utf-8-sig")
        line = 0 if "\0" not in text else text[: text.index("\0")].count("\n") + 1
    except UnicodeDecodeError as error:
        text, line = "", content[: error.start].count(b"\n") + 1
    if line:
        raise NotText(path, line, *not_utf_8(content, path))
    return text


def json_value(text: str | bytes) -> Any:
    """What a JSON text says.

    Raises:
        ValueError: it is not JSON, nested too deeply, or has a number of too many digits.
    """
    try:
        # msgspec is four times as fast, and what is large is read in pieces: other threads wait for one of them at most.
        return _in_pieces(msgspec.Raw(text)) if len(text) > PIECE else msgspec.json.decode(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except (msgspec.MsgspecError, UnicodeError):
        return _as_python_reads(text)


def _in_pieces(raw: msgspec.Raw) -> Any:
    begun = memoryview(raw)
    if len(begun) > PIECE and begun[0] == ord("{"):
        return {key: _in_pieces(value) for key, value in msgspec.json.decode(raw, type=dict[str, msgspec.Raw]).items()}
    if len(begun) > PIECE and begun[0] == ord("["):
        return [_in_pieces(value) for value in msgspec.json.decode(raw, type=list[msgspec.Raw])]
    return msgspec.json.decode(raw)


def _as_python_reads(text: str | bytes) -> Any:
    """With what JSON does not have and Python writes, such as NaN; and with the place of what is wrong."""
    import json  # the client starts without it

    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def whole_number(text: str) -> int | None:
    """The number that these decimal digits write, and nothing beside them; None: something else, or above 2^63 - 1."""
    if not text.isdecimal() or len(text) > len(str(LARGEST_NUMBER)):
        return None
    number = int(text)
    return number if number <= LARGEST_NUMBER else None


def not_utf_8(content: bytes, path: Path) -> tuple[str, str]:
    """What is said of a file that is not UTF-8, and how to convert it; `content` may be a part of it."""
    encoding = _looks_like(content)
    seems = f", it seems to be {encoding}" if encoding else ""
    convert = f"iconv -f {encoding or 'ENCODING'} -t UTF-8 {shlex.quote(str(path))} > new{path.suffix}"
    return f"is not UTF-8 text{seems}", f"convert it: {convert}"


def _looks_like(content: bytes) -> str:
    """The encoding by iconv's name, as far as the bytes tell; "" where they do not."""
    for mark, name in _MARKS:
        if content.startswith(mark):
            return name
    if b"\0" in content:
        first = content.index(b"\0")
        return "UTF-16BE" if first % 2 == 0 else "UTF-16LE"
    try:
        text = codecs.getincrementaldecoder("gb18030")().decode(content)
    except UnicodeDecodeError:
        return ""
    foreign = [character for character in text if ord(character) > 127]
    # In Chinese text both bytes of nearly every character are high. In a European one a letter with an accent stands
    # before a plain one, which together make a character that nobody writes.
    both_high = [character for character in foreign if all(byte >= 0xA1 for byte in character.encode("gb18030"))]
    if len(both_high) <= len(foreign) / 2:
        return ""
    # CJK ideographs and punctuation, full-width forms: what a Chinese configuration's comments are made of
    chinese = [
        c for c in foreign if "\u4e00" <= c <= "\u9fff" or "\u3000" <= c <= "\u303f" or "\uff00" <= c <= "\uffef"
    ]
    return "GBK" if len(chinese) > len(foreign) / 2 else ""
