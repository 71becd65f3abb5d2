"""A table by number that is never changed: a new one with one more entry shares nearly all of the old one.

A copy of a whole table for each event would make a history of n runs cost n squared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, ValuesView
from typing import TypeVar

Value = TypeVar("Value")
Leaves = dict[int, dict[int, Value]]

_BITS = 5  # 32 entries in a leaf, 32 leaves in a branch: what is copied for one change


class Numbered(Mapping[int, Value]):
    """Entries by their number, in the order of their numbers where these were given out one after the other."""

    __slots__ = ("_branches", "_size")
    __hash__ = None  # type: ignore[assignment]  # as that of a dict

    def __init__(self, entries: Mapping[int, Value] | None = None) -> None:
        self._branches: dict[int, Leaves[Value]] = {}
        self._size = 0
        for number, value in (entries or {}).items():
            self._branches, self._size = self._with(number, value)

    def __or__(self, changed: Mapping[int, Value]) -> Numbered[Value]:
        """The table with these entries new or replaced; this one stays as it is."""
        table = self
        for number, value in changed.items():
            branches, size = table._with(number, value)
            table = Numbered()
            table._branches, table._size = branches, size
        return table

    def __getitem__(self, number: int) -> Value:
        try:
            return self._branches[number >> 2 * _BITS][number >> _BITS][number]
        except KeyError:
            raise KeyError(number) from None

    def __iter__(self) -> Iterator[int]:
        for branch in self._branches.values():
            for leaf in branch.values():
                yield from leaf

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return repr(dict(self))

    def values(self) -> Entries[Value]:
        """The entries themselves, without looking each of them up."""
        return Entries(self)

    def _with(self, number: int, value: Value) -> tuple[dict[int, Leaves[Value]], int]:
        branch = self._branches.get(number >> 2 * _BITS, {})
        leaf = branch.get(number >> _BITS, {})
        size = self._size + (number not in leaf)
        leaves = branch | {number >> _BITS: leaf | {number: value}}
        return self._branches | {number >> 2 * _BITS: leaves}, size


class Entries(ValuesView[Value]):
    """The entries of a table in its order, or from its end."""

    def __init__(self, table: Numbered[Value]) -> None:
        super().__init__(table)
        self._table = table

    def __iter__(self) -> Iterator[Value]:
        for branch in self._table._branches.values():
            for leaf in branch.values():
                yield from leaf.values()

    def __reversed__(self) -> Iterator[Value]:
        for branch in reversed(self._table._branches.values()):
            for leaf in reversed(branch.values()):
                yield from reversed(leaf.values())
