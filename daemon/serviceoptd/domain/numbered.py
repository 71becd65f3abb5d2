"""A table by number that is never changed: a new one with one more entry shares nearly all of the old one.

A copy of a whole table for each event would make a history of n runs cost n squared. What an event changes is mostly what
the event before it changed, or its neighbour: the leaf of those lies beside the tree, and it alone is copied for them.

What is asked of all entries again and again is kept with the leaves, since a new table has nearly all leaves of the old one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, ValuesView
from itertools import chain
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")
Made = TypeVar("Made")


class Leaf(Generic[Value]):
    """Entries that do not change any more, and what was made of them."""

    __slots__ = ("_made", "entries")

    def __init__(self, entries: dict[int, Value]) -> None:
        self.entries = entries
        self._made: dict[Callable[..., Any], tuple[tuple[Any, ...], tuple[Any, ...]]] | None = None

    def made(self, of: Callable[..., Made | None], given: tuple[object, ...]) -> tuple[Made, ...]:
        """What `of` makes of each entry, without None; kept."""
        if self._made is None:  # most leaves of a replay are never asked
            self._made = {}
        known = self._made.get(of)
        if known is None or known[0] != given:
            made = [of(entry, *given) for entry in self.entries.values()]
            known = self._made[of] = given, tuple([each for each in made if each is not None])
        return known[1]


Branches = dict[int, dict[int, Leaf[Value]]]

_BITS = 5  # 32 entries in a leaf, 32 leaves in a branch


class Numbered(Mapping[int, Value]):
    """Entries by their number, in the order of their numbers where these were given out one after the other."""

    __slots__ = ("_branches", "_latest", "_latest_at", "_size")
    __hash__ = None  # type: ignore[assignment]  # as that of a dict

    def __init__(self, entries: Mapping[int, Value] | None = None) -> None:
        self._branches: Branches[Value] = {}
        self._latest: Leaf[Value] = Leaf({})  # it holds what its leaf in the tree holds, and what was changed since
        self._latest_at: int | None = None
        self._size = 0
        if entries:
            table = self | entries
            self._branches, self._size = table._branches, table._size
            self._latest, self._latest_at = table._latest, table._latest_at

    def with_entry(self, number: int, value: Value) -> Numbered[Value]:
        """The table with this entry new or replaced; this one stays as it is."""
        table: Numbered[Value] = object.__new__(Numbered)
        at = number >> _BITS
        if at == self._latest_at:
            table._branches, latest = self._branches, self._latest.entries.copy()
        else:
            table._branches, latest = self._turned_to(at)
        table._size = self._size if number in latest else self._size + 1
        latest[number] = value
        table._latest, table._latest_at = Leaf(latest), at
        return table

    def __or__(self, changed: Mapping[int, Value]) -> Numbered[Value]:
        """The table with these entries new or replaced; this one stays as it is."""
        table = self
        for number, value in changed.items():
            table = table.with_entry(number, value)
        return table

    def __getitem__(self, number: int) -> Value:
        if number in self._latest.entries:
            return self._latest.entries[number]
        try:
            return self._branches[number >> 2 * _BITS][number >> _BITS].entries[number]
        except KeyError:
            raise KeyError(number) from None

    def __iter__(self) -> Iterator[int]:
        return chain.from_iterable(leaf.entries for leaf in self._leaves())

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return repr(dict(self))

    def values(self) -> Entries[Value]:
        """The entries themselves, without looking each of them up."""
        return Entries(self)

    def made(self, of: Callable[..., Made | None], *given: object) -> Iterator[Made]:
        """What `of(entry, *given)` makes of each entry, in their order, without None. Kept: only what changed is made anew.

        Args:
            of: pure, and the same function each time: what it made is kept under it.
            given: compared with what was given last.
        """
        return chain.from_iterable([leaf.made(of, given) for leaf in self._leaves()])

    def _turned_to(self, at: int) -> tuple[Branches[Value], dict[int, Value]]:
        """A tree with all entries and a place for this leaf, and a copy of the leaf itself."""
        branches = self._branches.copy()
        if self._latest_at is not None:
            high = self._latest_at >> _BITS
            branches[high] = {**branches[high], self._latest_at: self._latest}
        branch = branches.get(at >> _BITS, {})
        leaf = branch.get(at) or Leaf({})
        branches[at >> _BITS] = {**branch, at: leaf}
        return branches, leaf.entries.copy()

    def _leaves(self) -> Iterator[Leaf[Value]]:
        for branch in self._branches.values():
            for at, leaf in branch.items():
                yield self._latest if at == self._latest_at else leaf

    def _leaves_from_the_end(self) -> Iterator[Leaf[Value]]:
        for branch in reversed(self._branches.values()):
            for at, leaf in reversed(branch.items()):
                yield self._latest if at == self._latest_at else leaf


class Entries(ValuesView[Value]):
    """The entries of a table in its order, or from its end."""

    def __init__(self, table: Numbered[Value]) -> None:
        super().__init__(table)
        self._table = table

    def __iter__(self) -> Iterator[Value]:
        return chain.from_iterable(leaf.entries.values() for leaf in self._table._leaves())

    def __reversed__(self) -> Iterator[Value]:
        for leaf in self._table._leaves_from_the_end():
            yield from reversed(leaf.entries.values())
