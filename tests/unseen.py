"""Characters that nobody sees and that do something all the same: what terminals, spreadsheets and readers must not meet."""

from __future__ import annotations

import unicodedata

EVIL = (
    "\x1b]0;owned\x07\x1b[2J \x9b31m \x9d0;owned\x9c \x85faked: yes \u2028faked: yes \u2029faked: yes \rfaked: yes "
    "\u202edaol\u202c \u2066in\u2069 \u200bzero\u200cwidth\u200d\u2060\ufeff \u00adsoft \u180emongol \U000e0041tag "
    "\u3164filler \x00\x08\x7f \u206a\ufff9"
)
"""One of each kind, in a text that could be a name or a line of a log."""


def unseen(text: str) -> list[str]:
    """What is in this text and would not be seen, but for ends of lines and tabs; Unicode's word for it."""
    kinds = ("Cc", "Cf", "Cs", "Zl", "Zp")
    found = {c for c in text if (unicodedata.category(c) in kinds or c == "\u3164") and c not in "\n\t"}
    return sorted(f"U+{ord(character):04X}" for character in found)
