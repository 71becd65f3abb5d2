"""The pool of KV cache blocks: counted where counting is exact, followed one by one only where blocks are shared. Pure.

Free blocks are given out in vLLM's order: first those whose content nobody can ask for, then the least recently used
ones. What a request alone can find again (after a preemption) lies in the pool as one entry with a number of blocks, its
last blocks being given out first; only the blocks of prefixes that requests share have names. So the cost of a step does
not grow with the blocks of its requests.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple


class Found(NamedTuple):
    """Blocks of a request that are still in the cache, in front of all others that it needs."""

    shared: tuple[int, ...] = ()
    own: int = 0
    free: int = 0  # how many of them are free now, so that claiming them takes them out of the pool

    @property
    def blocks(self) -> int:
        return len(self.shared) + self.own


NOTHING = Found()


class KvBlocks:
    """A pool of `blocks` blocks. The caller checks `free` before it takes."""

    def __init__(self, blocks: int) -> None:
        self.blocks = blocks
        self.free = blocks
        self._forgotten = blocks  # free, and without content that could be found
        # Free, with content, least recently used first: a shared block's name -> 1, or an entry of own blocks -> how many.
        self._kept: OrderedDict[int, int] = OrderedDict()
        self._own: dict[int, int] = {}  # request -> its entry in `_kept`
        self._copies: dict[tuple[int, int], list[int]] = {}  # (prefix, position) -> names of the blocks that hold it
        self._content: dict[int, tuple[int, int]] = {}  # name -> (prefix, position)
        self._holders: dict[int, int] = {}  # name -> requests that hold it
        self._names = 0

    def take(self, count: int) -> None:
        """Give out `count` of the free blocks."""
        self.free -= count
        if count <= self._forgotten:
            self._forgotten -= count
            return
        count -= self._forgotten
        self._forgotten = 0
        while count:
            name, blocks = self._kept.popitem(last=False)
            if blocks > count:
                self._kept[name] = blocks - count
                self._kept.move_to_end(name, last=False)
                return
            count -= blocks
            if name in self._content:
                self._forget(name)

    def find(self, request: int, prefix: int, shared: int, most: int) -> Found:
        """The longest run of its blocks in the cache: `shared` full ones of its prefix, then its own; `most` of them."""
        names = []
        for position in range(min(shared, most)):
            copies = self._copies.get((prefix, position))
            if not copies:
                break
            names.append(copies[0])
        free = sum(not self._holders[name] for name in names)
        own = min(self._kept.get(self._own.get(request, -1), 0), most - shared) if len(names) == shared else 0
        return Found(tuple(names), own, free + own) if names or own else NOTHING

    def claim(self, request: int, found: Found) -> None:
        """Hold what was found; needs no other blocks, but those that were free are no longer."""
        self.free -= found.free
        for name in found.shared:
            if not self._holders[name]:
                del self._kept[name]
            self._holders[name] += 1
        if found.own:
            entry = self._own[request]
            self._kept[entry] -= found.own
            if not self._kept[entry]:
                del self._kept[entry]

    def share(self, prefix: int, position: int) -> int:
        """A block that was taken now holds this part of a prefix, for all to find: its name."""
        name = self._name()
        self._copies.setdefault((prefix, position), []).append(name)
        self._content[name] = (prefix, position)
        self._holders[name] = 1
        return name

    def give_back(self, request: int, forgotten: int, own: int, shared: list[int]) -> None:
        """Free a request's blocks: without content worth keeping, with content of its own, and shared ones."""
        self.free += forgotten + own
        self._forgotten += forgotten
        if own:
            entry = self._own[request] = self._name()
            self._kept[entry] = own
        for name in reversed(shared):
            self._holders[name] -= 1
            if not self._holders[name]:
                self._kept[name] = 1
                self.free += 1

    def _forget(self, name: int) -> None:
        content = self._content.pop(name)
        copies = self._copies[content]
        copies.remove(name)
        if not copies:
            del self._copies[content]
        del self._holders[name]

    def _name(self) -> int:
        self._names += 1
        return self._names
