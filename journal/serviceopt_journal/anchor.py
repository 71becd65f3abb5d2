"""The head anchor: the last seq and hash, kept outside the database, so that a shortened journal is noticed.

Two slots of fixed size, each in a disk block of its own, are written alternately in place: a write that power loss
tears leaves the other slot, which is one commit behind. A bad slot is told and written anew at the next opening: while
there is only one good slot, a lost commit might not be noticed.
"""

from __future__ import annotations

import os
import struct
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, Self

from .chain import Head
from .file_system import sync_directory

FILE_NAME = "journal.anchor"
SLOT_DISTANCE = 4096  # bytes; no disk of today tears two of its blocks at once
_MAGIC = b"SVOPANC1"
_FIELDS = struct.Struct("<8sQ32s")
_CHECKSUM_BYTES = 32
_SLOT_BYTES = _FIELDS.size + _CHECKSUM_BYTES


class Slots(NamedTuple):
    """What an anchor file says."""

    newest: Head | None  # None: both slots are bad
    slot: int  # where it stands, 0 or 1
    bad: tuple[int, ...] = ()  # slots whose checksum does not fit, or that are missing


def read_anchor(directory: Path) -> Slots | None:
    """What the anchor file says now; None where there is none. Never writes.

    Raises:
        OSError: it cannot be read.
    """
    try:
        stored = (directory / FILE_NAME).read_bytes()
    except FileNotFoundError:
        return None
    heads = [_parse(stored[start : start + _SLOT_BYTES]) for start in (0, SLOT_DISTANCE)]
    valid = [(head, slot) for slot, head in enumerate(heads) if head is not None]
    bad = tuple(slot for slot, head in enumerate(heads) if head is None)
    return Slots(*max(valid), bad) if valid else Slots(None, 0, bad)


class Anchor:
    """The anchor file, open for writing."""

    def __init__(self, descriptor: int, next_slot: int) -> None:
        self._descriptor = descriptor
        self._next_slot = next_slot

    @classmethod
    def create(cls, directory: Path, head: Head) -> Self:
        """Makes the file, durably and all at once: a crash leaves either no anchor or a whole one.

        Raises:
            OSError: it cannot be written.
        """
        unfinished = directory / f"{FILE_NAME}.new"
        descriptor = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
        try:
            slot = _render(head).ljust(SLOT_DISTANCE, b"\0")
            os.pwrite(descriptor, slot + slot, 0)
            os.fsync(descriptor)
            unfinished.rename(directory / FILE_NAME)
            sync_directory(directory)
        except BaseException:
            os.close(descriptor)
            raise
        return cls(descriptor, next_slot=1)

    @classmethod
    def open(cls, directory: Path, slots: Slots) -> Self:
        """Opens the file whose content `slots` was read before; the newest slot is the last to be overwritten.

        What was read is on the disk afterwards: a writer that was killed may not have come to its sync.

        Raises:
            OSError: it cannot be opened for writing, or synced.
        """
        descriptor = os.open(directory / FILE_NAME, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return cls(descriptor, next_slot=1 - slots.slot)

    def write(self, head: Head) -> None:
        """Returns when `head` is on the disk.

        Raises:
            OSError: it could not be written or synced; what is on the disk is unknown.
        """
        written = os.pwrite(self._descriptor, _render(head), self._next_slot * SLOT_DISTANCE)
        if written != _SLOT_BYTES:
            raise OSError(f"only {written} of {_SLOT_BYTES} bytes of the anchor were written")
        os.fdatasync(self._descriptor)
        self._next_slot = 1 - self._next_slot

    def close(self) -> None:
        """Closes the anchor's file."""
        os.close(self._descriptor)


def _render(head: Head) -> bytes:
    fields = _FIELDS.pack(_MAGIC, head.seq, head.hash)
    return fields + sha256(fields).digest()


def _parse(slot: bytes) -> Head | None:
    fields, checksum = slot[: _FIELDS.size], slot[_FIELDS.size :]
    if len(slot) != _SLOT_BYTES or sha256(fields).digest() != checksum:
        return None
    magic, seq, hash_ = _FIELDS.unpack(fields)
    return Head(seq, hash_) if magic == _MAGIC else None
