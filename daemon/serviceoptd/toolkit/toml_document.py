"""How large and how deep a configuration may be: looked at before `tomllib` reads it, in one pass.

`tomllib` and everything behind it take the square of a key's parts, and one frame of the stack for each bracket.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

LARGEST = 1024 * 1024  # characters
DEEPEST = 32  # keys and indices on the way to a value; our own sections need six
_LARGEST_NUMBER = 2**63  # TOML's integers have 64 bits, and so have the numbers of an event

STRING = (
    r'"""[^"\\]*+(?>(?:(?:\\.|"{1,2}(?!"))[^"\\]*+)*)"{3,5}'  # up to two quotes of the text stand before the closing three
    r"|'''[^']*+(?>(?:'{1,2}(?!')[^']*+)*)'{3,5}"
    r'|"(?!"")[^"\\\n]*+(?>(?:\\.[^"\\\n]*+)*)"'
    r"|'(?!'')[^'\n]*+'"
)
MOST_KEYS = 5000
MOST_VALUES = 50_000
_TOKEN = re.compile(rf"(?:{STRING})|#[^\n]*|[^\[\]{{}}.,=\n\"'#]+|[\[\]{{}}.,=\n]", re.DOTALL)


class BeyondLimits(ValueError):
    """A document that is not read, with the line where the limit is passed (0: the whole text)."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


def document_of(text: str) -> dict[str, Any]:
    """The TOML document of a text within the limits.

    Raises:
        BeyondLimits: it is larger or deeper, has more keys or values or a larger number than we take.
        tomllib.TOMLDecodeError: it is not TOML.
    """
    if len(text) > LARGEST:
        raise BeyondLimits(f"larger than {LARGEST >> 10} Ki characters")
    _refuse_depth(text)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except ValueError as error:  # a number of more digits than Python reads
        raise BeyondLimits("a number has too many digits") from error
    _refuse_numbers(document)
    return document


def _refuse_depth(text: str) -> None:
    """One pass over the tokens. Where a string does not end, `tomllib` will say so at the same place."""
    brackets, dots, at = 0, 0, 0
    while match := _TOKEN.match(text, at):
        at = match.end()
        match match.group():
            case "[" | "{":
                brackets, dots = brackets + 1, 0
            case "]" | "}":
                brackets, dots = max(0, brackets - 1), 0
            case ".":
                dots += 1
            case "," | "=" | "\n":
                dots = 0
        if max(brackets, dots + 1) > DEEPEST:
            raise BeyondLimits(
                f"nested too deeply: more than {DEEPEST} keys in each other", text.count("\n", 0, at) + 1
            )


def _refuse_numbers(document: dict[str, Any]) -> None:
    """One pass over the values: each key is compared with those that are known, and each problem is told in words."""
    waiting: list[Any] = [document]
    keys, values = 0, 0
    while waiting:
        value = waiting.pop()
        values += 1
        if isinstance(value, dict):
            keys += 1 + len(value)
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, int) and abs(value) > _LARGEST_NUMBER:
            raise BeyondLimits("a number has more than 64 bits")
        if keys > MOST_KEYS:
            raise BeyondLimits(f"more than {MOST_KEYS} keys and tables")
        if values > MOST_VALUES:
            raise BeyondLimits(f"more than {MOST_VALUES} values")
