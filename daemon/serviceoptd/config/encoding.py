"""A configuration's bytes as text: UTF-8, and for anything else the command that makes it that."""

from __future__ import annotations

import codecs
import shlex
from pathlib import Path

from .problems import ConfigProblem

_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"), (codecs.BOM_UTF32_BE, "UTF-32"),  # before UTF-16, whose mark begins alike
    (codecs.BOM_UTF16_LE, "UTF-16"), (codecs.BOM_UTF16_BE, "UTF-16"),
)  # fmt: skip


def as_text(content: bytes, path: Path) -> str | ConfigProblem:
    """The text, or why it cannot be read; a mark at the beginning, as some editors write it, is left out."""
    try:
        text = content.decode("utf-8-sig")
        line = 0 if "\0" not in text else text[: text.index("\0")].count("\n") + 1
    except UnicodeDecodeError as error:
        text, line = "", content[: error.start].count(b"\n") + 1
    if not line:
        return text
    encoding = _looks_like(content)
    seems = f", it seems to be {encoding}" if encoding else ""
    convert = f"convert it: iconv -f {encoding or 'ENCODING'} -t UTF-8 {shlex.quote(str(path))} > new.toml"
    return ConfigProblem(str(path), line, "", f"is not UTF-8 text{seems}", convert)


def _looks_like(content: bytes) -> str:
    """The encoding by iconv's name, as far as the bytes tell; "" where they do not."""
    for mark, name in _MARKS:
        if content.startswith(mark):
            return name
    if b"\0" in content:
        first = content.index(b"\0")
        return "UTF-16BE" if first % 2 == 0 else "UTF-16LE"
    try:
        text = content.decode("gb18030")
    except UnicodeDecodeError:
        return ""
    foreign = [character for character in text if ord(character) > 127]
    # CJK ideographs and punctuation, full-width forms: what a Chinese configuration's comments are made of
    chinese = [
        c for c in foreign if "\u4e00" <= c <= "\u9fff" or "\u3000" <= c <= "\u303f" or "\uff00" <= c <= "\uffef"
    ]
    return "GBK" if len(chinese) > len(foreign) / 2 else ""
