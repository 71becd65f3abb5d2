"""The same attacks on what others keep results in: a plain SQLite table, and the journal file of Optuna.

    python tests/crash/other_journals.py

The same events are written, in the same commits, and acknowledged when the call that writes them returns. Then the writer is
killed before each durable call and in the middle of it, power is lost after each call (of the states of losing_power.py),
and one bit of every eighth byte is flipped. Prints for each journal and attack what came of it, as JSON:

  there                what was acknowledged is there, and after two events more it still is, and they are
  told                 reading fails, or SQLite's integrity_check does: nothing can be read, but somebody is told
  in silence           acknowledged events are missing, or others are read than were written, and nothing is said
  unreadable later     everything is there, until two events are appended

To be fair to them: both files exist durably before the first event, SQLite is asked for its integrity_check at each
reading, and Optuna's file is used without its lock, which a kill leaves behind and for which the next writer waits 30 s.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import random
import shutil
import sqlite3
import sys
from collections import Counter
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from typing import Any, Protocol

sys.path.insert(0, str(Path(__file__).parents[1]))

import msgspec

from crash.disk_states import DIRECTORY, written_out
from crash.failing_disk import NOT_REACHED, commits, forked, in_memory
from crash.losing_power import Acknowledged, losses, recorded
from crash.preloading import only_with_the_disk_shim
from journal_builders import flipped

BYTES_APART = 8
Rows = list[bytes]


class Unreadable(Exception):
    """Somebody is told that something is wrong."""


class Kept(Protocol):
    """One way to keep results. `state` is its directory."""

    name: str

    def make(self, state: Path) -> None: ...
    def append(self, state: Path, commits: list[Rows], acknowledged: Acknowledged) -> None: ...
    def read(self, state: Path) -> Rows: ...


class PlainSqlite:
    """A table in WAL mode; no chain, no anchor."""

    def __init__(self, synchronous: str) -> None:
        self.name = f"SQLite, WAL, synchronous={synchronous}"
        self._synchronous = synchronous

    def make(self, state: Path) -> None:
        with closing(sqlite3.connect(state / "results.db", isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("CREATE TABLE result (number INTEGER PRIMARY KEY, body BLOB NOT NULL)")

    def append(self, state: Path, commits: list[Rows], acknowledged: Acknowledged) -> None:
        with closing(sqlite3.connect(state / "results.db", isolation_level=None)) as connection:
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            connection.execute("PRAGMA wal_autocheckpoint = 4")
            for commit in commits:
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany("INSERT INTO result (body) VALUES (?)", [(row,) for row in commit])
                (number,) = connection.execute("SELECT max(number) FROM result").fetchone()
                connection.execute("COMMIT")
                acknowledged(number)

    def read(self, state: Path) -> Rows:
        try:
            with closing(sqlite3.connect(state / "results.db")) as connection:
                if connection.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
                    raise Unreadable
                return [row for (row,) in connection.execute("SELECT body FROM result ORDER BY number")]
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise Unreadable from error


class OptunaJournal:
    """The file below `optuna.storages.JournalStorage`."""

    name = "Optuna, JournalFileBackend"

    def _backend(self, state: Path) -> Any:
        from optuna.storages.journal import JournalFileBackend
        from optuna.storages.journal._file import BaseJournalFileLock

        class NoLock(BaseJournalFileLock):
            def acquire(self) -> bool:
                return True

            def release(self) -> None:
                pass

        return JournalFileBackend(str(state / "journal.log"), lock_obj=NoLock())

    def make(self, state: Path) -> None:
        self._backend(state)

    def append(self, state: Path, commits: list[Rows], acknowledged: Acknowledged) -> None:
        backend, number = self._backend(state), 0
        for commit in commits:
            backend.append_logs([msgspec.json.decode(row) for row in commit])
            number += len(commit)
            acknowledged(number)

    def read(self, state: Path) -> Rows:
        try:
            return [msgspec.json.encode(log) for log in self._backend(state).read_logs(0)]
        except Exception as error:
            raise Unreadable from error


KEPT: tuple[Kept, ...] = (PlainSqlite("NORMAL"), PlainSqlite("FULL"), OptunaJournal())


@cache
def to_be_written() -> list[Rows]:
    """The commits of failing_disk.py, each event as JSON."""
    return [
        [msgspec.json.encode(msgspec.json.decode(msgspec.json.encode(event))) for event in each] for each in commits()
    ]


def became(kept: Kept, state: Path, acknowledged: int) -> str:
    """What is read after an attack, and after two events more."""
    planned, more = [row for commit in to_be_written() for row in commit], [b'{"one":"more"}', b'{"and":"another"}']
    try:
        found = kept.read(state)
    except Unreadable:
        return "told"
    if found != planned[: len(found)] or len(found) < acknowledged:
        return "in silence"
    taken: list[int] = []
    with suppress(sqlite3.Error):  # it is told that it was not taken
        kept.append(state, [[row] for row in more], taken.append)
    try:
        again = kept.read(state)
    except Unreadable:
        return "unreadable later"
    return "there" if again == [*found, *more[: len(taken)]] else "in silence"


def killed(kept: Kept, root: Path, does: str) -> Counter[str]:
    """Killed before each durable call, or in the middle of it."""
    counts: Counter[str] = Counter()
    shim, told, state = ctypes.CDLL(None), root.with_name("acknowledged"), root / "state"
    for at in itertools.count(1):
        shutil.rmtree(state, ignore_errors=True)
        state.mkdir(parents=True)
        kept.make(state)

        def write(at: int = at) -> int:
            out = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            shim.disk_shim_arm(str(state).encode(), ctypes.c_long(at), does.encode(), 0, b"")
            kept.append(state, to_be_written(), lambda seq: os.write(out, b"%d\n" % seq))
            return 0 if shim.disk_shim_count() >= at else NOT_REACHED

        with forked(write) as status:
            if status == NOT_REACHED:
                return counts
        counts[became(kept, state, int((told.read_text().split() or ["0"])[-1]))] += 1
    raise AssertionError


def made(kept: Kept, root: Path) -> Path:
    """A new place with nothing in it but what the writer makes first."""
    state = root / "state"
    written_out({"state": DIRECTORY}, root)
    kept.make(state)
    return state


def without_power(kept: Kept, root: Path) -> Counter[str]:
    """The states that a power loss may leave."""
    counts: Counter[str] = Counter()
    state = made(kept, root)
    before = {"state": DIRECTORY} | {f"state/{path.name}": path.read_bytes() for path in state.iterdir()}
    calls = recorded(root, lambda state, acknowledged: kept.append(state, to_be_written(), acknowledged))
    for loss in losses(calls, random.Random(1), before=before, every=2):
        written_out(loss.files, root)
        counts[became(kept, state, loss.acknowledged)] += 1
    return counts


def with_flipped_bits(kept: Kept, root: Path) -> Counter[str]:
    """One bit of every eighth byte of each file, as a kill leaves them."""
    counts: Counter[str] = Counter()
    state = made(kept, root)

    last = sum(map(len, commits()))

    def die(number: int) -> None:
        if number == last:
            os._exit(0)

    def work() -> int:
        kept.append(state, to_be_written(), die)
        return 1

    with forked(work) as status:
        assert status == 0
    files = {path.name: path.read_bytes() for path in state.iterdir() if not path.name.endswith("-shm")}
    for name, content in files.items():
        for number, byte in enumerate(range(0, len(content), BYTES_APART)):
            damaged = {**files, name: flipped(content, byte, number % 8)}
            written_out({"state": DIRECTORY} | {f"state/{each}": data for each, data in damaged.items()}, root)
            counts[became(kept, state, last)] += 1
    return counts


def main() -> int:
    """Attacks all of them."""
    only_with_the_disk_shim()
    for kept in KEPT:
        with in_memory() as directory:
            root = Path(directory) / "disk"
            root.mkdir()
            attacks = {
                "killed before a call": killed(kept, root, "kill"),
                "killed in a call": killed(kept, root, "tear"),
                "power lost": without_power(kept, root),
                "a bit flipped": with_flipped_bits(kept, root),
            }
        for attack, counts in attacks.items():
            print(
                json.dumps({"journal": kept.name, "attack": attack, "tried": counts.total()} | dict(counts)), flush=True
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
