"""Reading a growing log: its new lines, its end, and whether a line is one of the patterns that end an evaluation."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from serviceopt_journal.foreign_files import MIB, UnfitFile, opened, tail
from serviceopt_journal.unseen import without_unseen
from serviceoptd.domain.settings import LogPatterns

_LINE_END = re.compile(rb"[\r\n]")  # progress bars end their lines with a carriage return
_AT_ONCE = MIB  # bytes read by one call, so that a flood of output does not stop the loop
_FURTHEST_BEHIND = 4 * MIB  # bytes that may wait to be read; where more do, only the last of them are
_LOOKED_THROUGH = 4 * MIB  # bytes at the end of a log in which the reason of a failure is looked for


_CONTROL_SEQUENCE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])|\x9b[0-?]*[ -/]*[@-~]"
)


def plain(text: str) -> str:
    """The text without colours and other commands to a terminal (ECMA-48), and without what nobody would see.

    Such would reach screens and the CSV, and keep a pattern from being found.
    """
    return without_unseen(_CONTROL_SEQUENCE.sub("", text.replace("\r", "\n")))


@dataclass(frozen=True)
class Match:
    """A line of a log in which a pattern was found."""

    severity: Literal["fatal", "retryable"]
    kind: str  # such as out_of_memory
    text: str  # the pattern
    line: str

    def reason(self, length: int) -> str:
        """The kind, and at most `length` characters of the line around the pattern."""
        start = self.line.find(self.text)
        before = max(0, (length - len(self.text)) // 2)
        begin = max(0, min(start - before, len(self.line) - length))
        return f"{self.kind}: {self.line[begin : begin + length].strip()}"


def scan(line: str, patterns: LogPatterns) -> Match | None:
    """The first pattern that is a part of this line; fatal ones are looked for first. Case counts."""
    for severity, kinds in (("fatal", patterns.fatal), ("retryable", patterns.retryable)):
        for kind, texts in kinds.items():
            for text in texts:
                if text and text in line:
                    return Match("fatal" if severity == "fatal" else "retryable", kind, text, line)
    return None


class LogFollower:
    """The lines that are added to a file, which may not exist yet, be truncated, or be replaced.

    A line longer than `longest_line` bytes comes in pieces of that size. Bytes that are not UTF-8 are shown as U+FFFD.
    Of a flood the last part is read, after a line that says how much was not. What is no regular file has no lines.
    """

    def __init__(self, path: Path, *, longest_line: int = 65_536) -> None:
        self.path = path
        self._longest = longest_line
        self._offset = 0
        self._inode = 0
        self._unfinished = b""

    def lines(self, *, ended: bool = False) -> list[str]:
        """The complete lines since the last call, empty ones left out.

        `ended`: nobody writes any more, so all that is left is read, and what has no line end yet is a line as well.
        """
        found: list[bytes] = []
        for _ in range(_FURTHEST_BEHIND // _AT_ONCE + 1):  # something that outlives the process may write for ever
            if not (data := self._read()):
                break
            *complete, self._unfinished = _LINE_END.split(self._unfinished + data)
            found.extend(complete)
            while len(self._unfinished) > self._longest:
                found.append(self._unfinished[: self._longest])
                self._unfinished = self._unfinished[self._longest :]
            if not ended:
                break
        if ended:
            found.append(self._unfinished)
            self._unfinished = b""
        return [plain(piece.decode(errors="replace")) for line in found for piece in self._pieces(line)]

    @property
    def position(self) -> int:
        """How many bytes of the file have been read."""
        return self._offset

    def written_since(self, position: int) -> list[str]:
        """The lines from this byte on, of the last few megabytes; what `lines` gives next does not change."""
        try:
            found = _LINE_END.split(tail(self.path, _LOOKED_THROUGH, begin=position))
        except (OSError, UnfitFile):
            return []
        return [plain(line[: self._longest].decode(errors="replace")) for line in found]

    def _pieces(self, line: bytes) -> list[bytes]:
        return [line[start : start + self._longest] for start in range(0, len(line), self._longest)]

    def _read(self) -> bytes:
        try:
            with opened(self.path) as file:
                now = os.fstat(file.fileno())
                if now.st_size < self._offset or now.st_ino != self._inode:
                    self._offset, self._inode, self._unfinished = 0, now.st_ino, b""
                left_out = self._leave_out(now.st_size - self._offset)
                file.seek(self._offset)
                data = file.read(_AT_ONCE)
        except (OSError, UnfitFile):  # not there yet, not any more, or none
            return b""
        self._offset += len(data)
        return left_out + data

    def _leave_out(self, behind: int) -> bytes:
        """Goes on to the last of what waits, where too much does; the line that says so."""
        if behind <= _FURTHEST_BEHIND:
            return b""
        self._offset += behind - _AT_ONCE
        return b"\n[serviceopt: %d bytes of this log were not looked through]\n" % (behind - _AT_ONCE)

    def tail(self, characters: int) -> str:
        """The last characters of the file, without white space around them; empty when there is no file."""
        try:
            last = tail(self.path, 4 * characters + 4)  # a character has four bytes at most
        except (OSError, UnfitFile):
            return ""
        text = plain(last.decode(errors="replace")).strip()
        return text[-characters:] if characters > 0 else ""
