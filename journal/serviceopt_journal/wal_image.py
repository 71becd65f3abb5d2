"""A database with its write-ahead log applied, in memory: for reading where nothing can be written, not even aside.

The formats are SQLite's own (sqlite.org/fileformat2.html, section 4, "The Write-Ahead Log"). As SQLite does, frames count
up to the last commit of the unbroken beginning; what a crash left behind it is passed over.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_HEADER = struct.Struct(">8I")  # magic, version, page size, checkpoint, two salts, two checksums
_FRAME = struct.Struct(">6I")  # page, pages after a commit or 0, two salts, two checksums
_MAGIC = 0x377F0682  # its lowest bit: whether the words of checksums are big-endian
_WORD = 0xFFFFFFFF
_VERSIONS_AT = 18  # of writing and of reading: 2 for a database with a log, 1 for one without

Checksum = tuple[int, int]


def apply(log: bytes | bytearray, found: bytearray) -> None:
    """Makes of the database's bytes what a reader would see through its log; they need no log any more."""
    for number, page, pages in _committed(log):
        end = number * len(page)
        if len(found) < end:
            found.extend(bytes(end - len(found)))
        found[end - len(page) : end] = page
        if pages:
            del found[pages * len(page) :]
    if len(found) >= _VERSIONS_AT + 2:
        found[_VERSIONS_AT : _VERSIONS_AT + 2] = b"\x01\x01"


def _committed(log: bytes | bytearray) -> Iterator[tuple[int, bytes | bytearray, int]]:
    """Page number, content, and pages of the database after the commit (0 within one), of each frame that counts."""
    frames: list[tuple[int, bytes | bytearray, int]] = []
    for frame in _frames(log):
        frames.append(frame)
        if frame[2]:
            yield from frames
            frames.clear()


def _frames(log: bytes | bytearray) -> Iterator[tuple[int, bytes | bytearray, int]]:
    if len(log) < _HEADER.size:
        return
    magic, _, size, _, *salts, first, second = _HEADER.unpack_from(log)
    order = ">" if magic & 1 else "<"
    checksum = _checksum(log[: _HEADER.size - 8], order, (0, 0))
    if magic & ~1 != _MAGIC or checksum != (first, second):
        return
    at = _HEADER.size
    while at + _FRAME.size + size <= len(log):
        number, pages, *frame_salts, first, second = _FRAME.unpack_from(log, at)
        page = log[at + _FRAME.size : at + _FRAME.size + size]
        checksum = _checksum(page, order, _checksum(log[at : at + 8], order, checksum))
        if frame_salts != salts or checksum != (first, second) or not number:
            return
        yield number, page, pages
        at += _FRAME.size + size


def _checksum(content: bytes | bytearray, order: str, before: Checksum) -> Checksum:
    first, second = before
    words = iter(struct.unpack(f"{order}{len(content) // 4}I", content))
    for left, right in zip(words, words, strict=True):
        first = (first + left + second) & _WORD
        second = (second + right + first) & _WORD
    return first, second
