"""Requests that gain one token a batch, all together: counted, not visited. Pure.

A clock counts their batches; what a request has computed is the clock plus its offset. So when it joins it is known when
it will finish, and in which residue class of the clock it needs its next block, and a batch costs what changes in it.
"""

from __future__ import annotations


class InStep:
    """The requests that decode together, in the order in which they joined."""

    def __init__(self, block_size: int) -> None:
        self.offset: dict[int, int] = {}  # request -> its computed tokens less the clock
        self._offsets = 0  # their sum
        self._clock = 0
        self._size = block_size
        self._crossing = [0] * block_size  # by clock modulo the block size: requests that need a block then
        self._finishing: dict[int, dict[int, int]] = {}  # clock -> request -> offset; some may have left since

    def __len__(self) -> int:
        return len(self.offset)

    def blocks_needed(self) -> int:
        """New blocks for the next token of all."""
        return self._crossing[self._clock % self._size]

    def advance(self) -> list[int]:
        """Computes one more token for each of them. Returns those that have computed all; the caller makes them leave."""
        self._clock += 1
        finishing = self._finishing.pop(self._clock, {})
        return [request for request, offset in finishing.items() if self.offset.get(request) == offset]

    def context(self) -> int:
        """The number of computed tokens of all of them."""
        return self._offsets + len(self.offset) * self._clock

    def join(self, request: int, computed: int, last: int) -> None:
        """Takes a sequence in with the next batch, until `last` tokens are computed; `computed` are now."""
        offset = self.offset[request] = computed - self._clock
        self._offsets += offset
        self._crossing[-offset % self._size] += 1
        self._finishing.setdefault(last - offset, {})[request] = offset

    def leave(self, request: int) -> int:
        """Takes a request out, and gives the tokens that it has computed."""
        offset = self.offset.pop(request)
        self._offsets -= offset
        self._crossing[-offset % self._size] -= 1
        return offset + self._clock
