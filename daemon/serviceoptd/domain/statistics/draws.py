"""Random numbers without a state: each is a function of what it is for.

A counter-based generator: a number is read from BLAKE2b (RFC 7693) of the run's seed, the purpose, the particle and the
index. So a resumed run draws what the uninterrupted one would have drawn, whatever was drawn in between, and two
purposes, particles or indices never share a number. The values are part of every journal's meaning: never change them.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from itertools import count

_PER_DIGEST = 8
"""Numbers in one digest of 64 bytes."""


def uniform(seed: int, purpose: str, particle: int, index: int) -> float:
    """One number in [0, 1), a multiple of 2^-53. `index` counts from 0."""
    return _block(seed, purpose, particle, index // _PER_DIGEST)[index % _PER_DIGEST]


def uniforms(seed: int, purpose: str, particle: int, count: int) -> list[float]:
    """The first `count` numbers: `uniform` of index 0, 1, ..."""
    blocks = range(-(-count // _PER_DIGEST))
    return [value for block in blocks for value in _block(seed, purpose, particle, block)][:count]


def endless(seed: int, purpose: str, particle: int) -> Iterator[float]:
    """Numbers for what takes as many as it happens to need."""
    for block in count():
        yield from uniforms(seed, f"{purpose} {block}" if block else purpose, particle, _PER_DIGEST)


def permutation(seed: int, purpose: str, particle: int, size: int) -> list[int]:
    """The numbers 0 to size - 1 in random order, every order being equally likely."""
    keys = uniforms(seed, purpose, particle, size)
    return sorted(range(size), key=lambda position: (keys[position], position))


def _block(seed: int, purpose: str, particle: int, block: int) -> list[float]:
    # The purpose comes last, so that no text of a purpose can imitate another particle or block.
    words = hashlib.blake2b(f"{seed},{particle},{block},{purpose}".encode()).digest()
    # The upper 53 bits of each word: as many as a float in [0, 1) can tell apart.
    return [(word >> 11) * 2.0**-53 for word in struct.unpack("<8Q", words)]
