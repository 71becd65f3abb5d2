"""A disk of which the power may fail: what was synced is there; of what was not, any part, in any order.

No more is taken from a file system than POSIX promises: a sync of a file says nothing of its name, which is safe when its
directory was synced; one change of a name happens wholly or not at all. Sectors are written wholly or not at all.
"""

from __future__ import annotations

import itertools
import random
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

SECTOR = 512  # bytes
MIXTURES = 12
"""States of sectors at random, after each call."""
MOST_TORN = 8  # of the writes that are not synced; as many as that are torn at each of their sectors

Files = dict[str, bytes]
"""Contents by the path below the root; of a directory, b"/"."""
DIRECTORY = b"/"


class Call(NamedTuple):
    """One call that the shim recorded, its paths relative to the root."""

    kind: str
    path: str
    to: str
    offset: int
    data: bytes
    number: int = 0  # as the shim counts: the one at which it can be told to kill


def calls_of(trace: Path, root: Path) -> list[Call]:
    """What the shim wrote down."""
    calls, recorded, at = [], trace.read_bytes(), 0
    while at < len(recorded):
        end = recorded.index(b"\n", at)
        kind, path, to, offset, size, number = recorded[at:end].decode().split("\t")
        at = end + 1
        data = recorded[at : at + int(size)]
        at += int(size)
        paths = (each and str(PurePosixPath(each).relative_to(root)) for each in (path, to))
        calls.append(Call(kind, *paths, int(offset), data, int(number)))
    return calls


def written_out(files: Files, root: Path) -> None:
    """Makes `root` hold these files and no others."""
    shutil.rmtree(root)
    root.mkdir()
    for path, content in sorted(files.items()):
        if content == DIRECTORY:
            (root / path).mkdir()
        else:
            (root / path).write_bytes(content)


@dataclass(eq=False)
class _File:
    durable: bytearray
    directory: bool = False


@dataclass(eq=False)
class _Change:
    """What a call did, and no sync has made sure yet: to a file's content, or to names in one directory."""

    call: Call
    file: _File | None = None
    names: dict[str, _File | None] = field(default_factory=dict)

    @property
    def directory(self) -> str:
        """Where the names lie that were changed."""
        return str(PurePosixPath(next(iter(self.names))).parent)

    @property
    def size(self) -> int:
        """Bytes that were written."""
        return len(self.call.data)


class _Kept(NamedTuple):
    """A change that reached the disk, of a write only these bytes."""

    change: _Change
    start: int
    end: int


class Disk:
    """The files below one directory, as the calls on them come."""

    def __init__(self, files: Files) -> None:
        self._live = {path: _File(bytearray(content), content == DIRECTORY) for path, content in files.items()}
        self._names: dict[str, _File] = dict(self._live)
        self._changes: list[_Change] = []

    def take(self, call: Call) -> None:
        """Does what the recorded call did."""
        path = call.path
        match call.kind:
            case "create" | "mkdir":
                self._rename(call, {path: _File(bytearray(), call.kind == "mkdir")})
            case "rename":
                self._rename(call, {path: None, call.to: self._live[path]})
            case "link":
                self._rename(call, {call.to: self._live[path]})
            case "unlink":
                self._rename(call, {path: None})
            case "write" | "truncate":
                self._changes.append(_Change(call, self._live[path]))
            case "sync":
                self._sync(path)

    def _rename(self, call: Call, names: dict[str, _File | None]) -> None:
        self._changes.append(_Change(call, names=names))
        _rename(self._live, names)

    def _sync(self, path: str) -> None:
        file = self._live.get(path)
        due = [change for change in self._changes if (change.file is file if change.file else change.directory == path)]
        for change in due:
            if change.file is None:
                _rename(self._names, change.names)
            else:
                _apply(change.file.durable, change.call, 0, change.size)
        self._changes = [change for change in self._changes if change not in due]

    def states(self, chooser: random.Random, *, torn: bool = True) -> Iterator[tuple[str, bool, Files]]:
        """What a power loss now may leave: how it came, whether a change of names was lost, and the files."""
        whole = list(map(_whole, self._changes))
        for kind, kept in itertools.chain(_whole_calls(whole), self._torn(whole, chooser) if torn else ()):
            there = {id(each.change) for each in kept}
            names_lost = any(change.names and id(change) not in there for change in self._changes)
            yield kind, names_lost, self._made(kept)
        yield "length without content", False, self._made(whole, empty=True)

    def _torn(self, whole: list[_Kept], chooser: random.Random) -> Iterator[tuple[str, Sequence[_Kept]]]:
        writes = [n for n, change in enumerate(self._changes) if change.size]
        for n in sorted(chooser.sample(writes, min(len(writes), MOST_TORN))):
            change = self._changes[n]
            for cut in _sectors(change.call)[1:]:
                yield "torn", [*whole[:n], _Kept(change, 0, cut)]
                yield "torn, the end kept", [*whole[:n], _Kept(change, cut, change.size), *whole[n + 1 :]]
        for _ in range(MIXTURES if whole else 0):
            yield "sectors at random", self._mixture(chooser)

    def _mixture(self, chooser: random.Random) -> list[_Kept]:
        share, kept = chooser.choice((0.1, 0.5, 0.9)), []
        for change in self._changes:
            cuts = [*_sectors(change.call), change.size] if change.size else [0, 0]
            kept += [_Kept(change, start, end) for start, end in itertools.pairwise(cuts) if chooser.random() < share]
        # Changes of names come in their order, and so do those of one file's length; sectors in any.
        contents = [each for each in kept if each.change.size]
        chooser.shuffle(contents)
        return [each for each in kept if not each.change.size] + contents

    def _made(self, kept: Iterable[_Kept], *, empty: bool = False) -> Files:
        names, contents = dict(self._names), {}
        for change, start, end in kept:
            if change.file is None:
                _rename(names, change.names)
                continue
            content = contents.setdefault(change.file, bytearray(change.file.durable))
            if empty and change.size:
                content.extend(bytes(max(0, change.call.offset + change.size - len(content))))
            else:
                _apply(content, change.call, start, end)
        return {
            path: DIRECTORY if file.directory else bytes(contents.get(file, file.durable))
            for path, file in names.items()
            if all(str(parent) in names for parent in list(PurePosixPath(path).parents)[:-1])
        }


def _whole_calls(whole: list[_Kept]) -> Iterator[tuple[str, Sequence[_Kept]]]:
    yield "all kept", whole
    yield "all lost", []
    for n in range(1, len(whole)):
        yield "the first kept", whole[:n]
        yield "the last kept", whole[n:]
    for n in range(len(whole)):
        yield "one lost", whole[:n] + whole[n + 1 :]
        yield "one kept", whole[n : n + 1]


def _whole(change: _Change) -> _Kept:
    return _Kept(change, 0, change.size)


def _rename(names: dict[str, _File], changed: dict[str, _File | None]) -> None:
    for name, file in changed.items():
        if file is None:
            names.pop(name, None)
        else:
            names[name] = file


def _apply(content: bytearray, call: Call, start: int, end: int) -> None:
    if call.kind == "truncate":
        del content[call.offset :]
        content.extend(bytes(call.offset - len(content)))
        return
    content.extend(bytes(max(0, call.offset + end - len(content))))
    content[call.offset + start : call.offset + end] = call.data[start:end]


def _sectors(call: Call) -> list[int]:
    """Where in the data of a write a sector of the file begins, from 0 on."""
    first = SECTOR - call.offset % SECTOR
    return [0, *range(first, len(call.data), SECTOR)]
