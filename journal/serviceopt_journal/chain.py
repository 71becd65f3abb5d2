"""The hash chain: each event carries SHA-256(hash of the event before, its canonical bytes)."""

from __future__ import annotations

from hashlib import sha256
from typing import NamedTuple

HASH_BYTES = 32


class Head(NamedTuple):
    """The last event: its number and its hash."""

    seq: int
    hash: bytes


GENESIS = Head(0, bytes(HASH_BYTES))
"""The head of an empty journal."""


def link(previous: bytes, body: bytes) -> bytes:
    """The hash of the event with these canonical bytes, after the event with hash `previous`."""
    return sha256(previous + body).digest()
