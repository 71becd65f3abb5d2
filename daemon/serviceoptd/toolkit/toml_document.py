"""How large and how deep a configuration may be: looked at before `tomllib` reads it, in one pass.

`tomllib` and everything behind it take the square of a key's parts, and one frame of the stack for each bracket.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any

LARGEST = 1024 * 1024  # characters
DEEPEST = 32  # keys and indices on the way to a value; our own sections need six
_LARGEST_NUMBER = 2**63  # TOML's integers have 64 bits, and so have the numbers of an event

STRING = (
    r'"""[^"\\]*+(?:(?:\\.|"{1,2}(?!"))[^"\\]*+)*+"{3,5}'  # up to two quotes of the text stand before the closing three
    r"|'''[^']*+(?:'{1,2}(?!')[^']*+)*+'{3,5}"
    r'|"(?!"")[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"'
    r"|'(?!'')[^'\n]*+'"
)
_TOKEN = re.compile(rf"(?:{STRING})|#[^\n]*|[^\[\]{{}}.,=\n\"'#]+|[\[\]{{}}.,=\n]", re.DOTALL)


class BeyondLimits(ValueError):
    """A document that is not read, with the line where the limit is passed (0: the whole text)."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


def document_of(text: str) -> dict[str, Any]:
    """The TOML document of a text within the limits.

    Raises:
        BeyondLimits: it is larger, deeper or has a larger number than we take.
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
    if any(abs(number) > _LARGEST_NUMBER for number in _integers(document)):
        raise BeyondLimits("a number has more than 64 bits")
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


def _integers(value: Any) -> Iterator[int]:
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, int):
            yield value
