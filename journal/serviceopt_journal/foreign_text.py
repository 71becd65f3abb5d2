"""Text that somebody else wrote must be UTF-8: of anything else is said what it seems to be, and how to convert it."""

from __future__ import annotations

import codecs
import shlex
from pathlib import Path

from .errors import InvalidConfiguration

_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"), (codecs.BOM_UTF32_BE, "UTF-32"),  # before UTF-16, whose mark begins alike
    (codecs.BOM_UTF16_LE, "UTF-16"), (codecs.BOM_UTF16_BE, "UTF-16"),
)  # fmt: skip


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
    # CJK ideographs and punctuation, full-width forms: what a Chinese configuration's comments are made of
    chinese = [
        c for c in foreign if "\u4e00" <= c <= "\u9fff" or "\u3000" <= c <= "\u303f" or "\uff00" <= c <= "\uffef"
    ]
    return "GBK" if len(chinese) > len(foreign) / 2 else ""
