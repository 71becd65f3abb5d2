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
        self._branches, self._size = _with({}, 0, entries or {})

    def __or__(self, changed: Mapping[int, Value]) -> Numbered[Value]:
        """The table with these entries new or replaced; this one stays as it is."""
        table: Numbered[Value] = object.__new__(Numbered)
        table._branches, table._size = _with(self._branches, self._size, changed)
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


def _with(
    branches: dict[int, Leaves[Value]], size: int, changed: Mapping[int, Value]
) -> tuple[dict[int, Leaves[Value]], int]:
    """The branches with these entries, and their number; what other tables share is copied before it changes."""
    for number, value in changed.items():
        high, middle = number >> 2 * _BITS, number >> _BITS
        branch = branches.get(high, {})
        leaf = branch.get(middle, {})
        size += number not in leaf
        leaf, branch, branches = leaf.copy(), branch.copy(), branches.copy()
        leaf[number] = value
        branch[middle] = leaf
        branches[high] = branch
    return branches, size


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
