"""On which line each key of a TOML document stands, which `tomllib` does not tell.

The scanner reads documents that `tomllib` has accepted, so it only has to find its way, not to judge. Paths are tuples
of keys and list indices, as one would index the parsed document: `("vllm", "target_field", 2, "min")`.
"""

from __future__ import annotations

import json
import re
import tomllib
from bisect import bisect_right
from dataclasses import dataclass, field

from serviceoptd.toolkit.toml_document import DEEPEST, STRING, BeyondLimits

Path = tuple[str | int, ...]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(STRING, re.DOTALL)
_OTHER_VALUE = re.compile(r"[^,\]}#\n]+")
_BLANKS = re.compile(r"[ \t]*")
_COMMENT = re.compile(r"#[^\n]*")


@dataclass(frozen=True)
class Span:
    """Where a value is written: offsets into the text, end exclusive, and the line of its key (of itself in a list)."""

    line: int
    start: int
    end: int


@dataclass
class Positions:
    """Lines of keys and places of values."""

    lines: dict[Path, int] = field(default_factory=dict)
    values: dict[Path, Span] = field(default_factory=dict)
    comments: list[tuple[int, int]] = field(default_factory=list)

    def line(self, path: Path) -> int:
        """The line of the key, counting from 1; of the nearest table around it where it is not written itself."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def positions(text: str) -> Positions:
    """Finds the way through a text of which `document_of` has made a document.

    Raises:
        BeyondLimits: its tables together are deeper than we take.
    """
    scanner = _Scanner(text)
    scanner.document()
    return scanner.found


def dotted(path: Path) -> str:
    """The path as people write it: `vllm.target_field[2].min`; keys that need quotes get them."""
    parts: list[str] = []
    for step in path:
        if isinstance(step, int):
            parts.append(f"[{step}]")
        else:
            key = step if _BARE_KEY.fullmatch(step) else json.dumps(step, ensure_ascii=False)
            parts.append(f".{key}" if parts else key)
    return "".join(parts)


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.found = Positions()
        self.newlines = [index for index, character in enumerate(text) if character == "\n"]
        self.array_lengths: dict[Path, int] = {}  # arrays of tables so far

    def document(self) -> None:
        table: Path = ()
        self.skip_to_content()
        while self.at < len(self.text):
            if self.peek() == "[":
                table = self.header()
            else:
                self.pair(table)
            self.skip_to_content()

    def header(self) -> Path:
        line = self.line()
        is_array = self.text.startswith("[[", self.at)
        self.at += 2 if is_array else 1
        keys = self.key()
        self.at += 2 if is_array else 1
        path: Path = ()
        for number, key in enumerate(keys, start=1):
            path = self.below(path, key, line)
            self.found.lines.setdefault(path, line)
            if is_array and number == len(keys):
                self.array_lengths[path] = self.array_lengths.get(path, 0) + 1
            if path in self.array_lengths:
                path = self.below(path, self.array_lengths[path] - 1, line)
                self.found.lines.setdefault(path, line)
        return path

    def pair(self, table: Path) -> None:
        path, line = table, self.line()
        for key in self.key():
            path = self.below(path, key, line)
            self.found.lines.setdefault(path, line)
        self.at += 1  # the sign of equality
        self.skip_blanks()
        self.value(path, line)

    def key(self) -> list[str]:
        keys: list[str] = []
        while True:
            self.skip_blanks()
            quoted = self.peek() in "\"'"
            match = (_STRING if quoted else _BARE_KEY).match(self.text, self.at)
            if match is None:  # tomllib accepted the document: a gap of this scanner, not an error of the user's
                raise AssertionError(f"no key at offset {self.at}")
            self.at = match.end()
            keys.append(tomllib.loads(f"{match.group()} = 0").popitem()[0] if quoted else match.group())
            self.skip_blanks()
            if self.peek() != ".":
                return keys
            self.at += 1

    def value(self, path: Path, line: int) -> None:
        start = self.at
        if self.peek() == "[":
            self.items(path)
        elif self.peek() == "{":
            self.inline_table(path)
        elif match := _STRING.match(self.text, self.at) or _OTHER_VALUE.match(self.text, self.at):
            self.at += len(match.group().rstrip())
        self.found.values[path] = Span(line, start, self.at)

    def items(self, path: Path) -> None:
        self.at += 1
        self.skip_to_content()
        index = 0
        while self.peek() != "]":
            line = self.line()
            inner = self.below(path, index, line)
            self.found.lines[inner] = line
            self.value(inner, line)
            self.skip_to_content(",")
            index += 1
        self.at += 1

    def inline_table(self, path: Path) -> None:
        self.at += 1
        self.skip_to_content()
        while self.peek() != "}":
            self.pair(path)
            self.skip_to_content(",")
        self.at += 1

    def below(self, path: Path, step: str | int, line: int) -> Path:
        if len(path) == DEEPEST:
            raise BeyondLimits(f"nested too deeply: more than {DEEPEST} keys in each other", line)
        return (*path, step)

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def line(self) -> int:
        return bisect_right(self.newlines, self.at - 1) + 1

    def skip_blanks(self) -> None:
        if match := _BLANKS.match(self.text, self.at):
            self.at = match.end()

    def skip_to_content(self, separator: str = "") -> None:
        while self.at < len(self.text):
            if match := _COMMENT.match(self.text, self.at):
                self.found.comments.append(match.span())
                self.at = match.end()
            elif self.text[self.at] in " \t\r\n" + separator:
                self.at += 1
            else:
                return
