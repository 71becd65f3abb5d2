"""Characters that nobody sees, in the text of others: what a terminal obeys, or what changes how the rest is read.

A terminal obeys control characters, Unicode's formatting characters turn the direction of reading, end a line or join and
part words without a trace. Whatever shows a text of others passes it through one of the functions here.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's categories of controls, formatting characters, halves of surrogate pairs, ends of lines and paragraphs."""
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
"""Letters and marks that have no shape either. Selectors of an emoji's shape (U+FE00 on) stay: they follow a character."""
_KEPT = "\n\t"


class _Shown(dict[int, str]):
    """A table for `str.translate` that is filled as characters are met."""

    def __init__(self, form: Callable[[int], str], kept: str = _KEPT) -> None:
        super().__init__()
        self._form, self._kept = form, kept

    def __missing__(self, code: int) -> str:
        character = chr(code)
        unseen = unicodedata.category(character) in _UNSEEN or character in _BLANK or 0xE0000 <= code <= 0xE0FFF
        shown = self._form(code) if unseen and character not in self._kept else character
        return self.setdefault(code, shown)


def _escaped(code: int) -> str:
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _escaped_in_json(code: int) -> str:
    units = chr(code).encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


_VISIBLE, _REMOVED, _JSON = _Shown(_escaped), _Shown(lambda _: ""), _Shown(_escaped_in_json)


def visible(text: str) -> str:
    """The text with `\\x1b`, `\\u202e` or `\\U000e0001` in the place of what nobody would see; line ends and tabs stay."""
    return text.translate(_VISIBLE)


def without_unseen(text: str) -> str:
    """The text without what nobody would see; line ends and tabs stay."""
    return text.translate(_REMOVED)


def visible_json(text: str) -> str:
    """Escapes in a JSON text what nobody would see in it: a program reads from it what it read before."""
    return text.translate(_JSON)
