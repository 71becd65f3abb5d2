"""Is the journal what was written? The database's own check, the hash chain, the numbering, and the head anchor."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from . import schema
from .anchor import Slots, read_anchor
from .chain import GENESIS, HASH_BYTES, Head
from .codec import Recorded, decode
from .database import FILE_NAME, ReadPlan, misread_as_read_only
from .errors import JournalDamaged, JournalError, JournalFromTheFuture
from .failures import DAMAGE_HINT, UNREADABLE, explain

_LISTED_PROBLEMS = 100
_ANCHOR_ATTEMPTS = 100

OnEvent = Callable[[Recorded], object]


@dataclass
class Report:
    """What a verification found out. `problems` is empty for a sound journal."""

    events: int = 0
    head_seq: int = 0
    head_hash: bytes = GENESIS.hash
    first_bad_seq: int | None = None
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)  # faults that need no decision: the next opening repairs them
    events_per_second: float = 0.0
    future: JournalFromTheFuture | None = None  # not damage: a newer release wrote something
    anchor_behind: bool = False  # by the one commit that was never acknowledged: legal, the writer will advance it

    @property
    def sound(self) -> bool:
        """Whether this release can go on with this journal."""
        return not self.problems and self.future is None

    @property
    def head(self) -> Head:
        """The last event that could be read."""
        return Head(self.head_seq, self.head_hash)

    def error(self) -> JournalError | None:
        """Why nothing may be appended; None for a sound journal. Damage counts before what is merely too new."""
        if self.problems:
            where = f"event {self.first_bad_seq}: " if self.first_bad_seq is not None else ""
            more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
            return JournalDamaged(
                f"the journal is damaged: {where}{self.problems[0]}{more}",
                first_bad_seq=self.first_bad_seq,
                hint=DAMAGE_HINT,
            )
        return self.future

    def add(self, problem: str, seq: int | None = None) -> None:
        """Notes a problem, with the first event that it concerns."""
        if seq is not None and (self.first_bad_seq is None or seq < self.first_bad_seq):
            self.first_bad_seq = seq
            self.problems.insert(0, problem)
        elif len(self.problems) < _LISTED_PROBLEMS:
            self.problems.append(problem)


def verify(state_directory: Path, *, on_event: OnEvent | None = None) -> Report:
    """Checks everything that can be checked, with or without a live writer. Changes nothing, and never stops early.

    Args:
        state_directory: where the journal lies.
        on_event: called with every event up to the first problem, so that the journal is read once; from the first event
            again where a writer began meanwhile.

    Raises:
        NotFound: there is no journal.
        EnvironmentLacks: this user cannot read it.
    """
    while True:
        with ReadPlan(state_directory) as plan:
            report = _verify(state_directory, plan, on_event)
            if plan.settled():
                return report


def _verify(state_directory: Path, plan: ReadPlan, on_event: OnEvent | None) -> Report:
    report = Report()
    try:
        connection = plan.connect()
    except UNREADABLE as error:
        return _unreadable(error)
    try:
        # A live writer moves the anchor: it is compared with the state of the database that it stood beside.
        for _ in range(_ANCHOR_ATTEMPTS):
            before = read_anchor(state_directory)
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            slots = read_anchor(state_directory)
            if before == slots:
                break
            connection.execute("ROLLBACK")
        report = examine(connection, slots, on_event=on_event, directory=state_directory)
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    except UNREADABLE as error:
        return _unreadable(error)
    finally:
        connection.close()
    return report


def _unreadable(error: sqlite3.Error | UnicodeDecodeError | MemoryError) -> Report:
    explained = explain(error)
    if not isinstance(explained, JournalDamaged):
        raise explained from error
    return Report(first_bad_seq=1, problems=[explained.message])


def examine(
    connection: sqlite3.Connection,
    slots: Slots | None,
    *,
    directory: Path,
    on_event: OnEvent | None = None,
    anchored: bool = True,
) -> Report:
    """Reads the whole journal once, in order, over a connection whose text is bytes.

    Args:
        directory: where the database lies that is read over the connection.
        slots: what the anchor file said, None where there is none.
        on_event: called with every event up to the first problem.
        anchored: False leaves the anchor out.
    """
    started = time.perf_counter()
    report = Report()
    walk = _Walk(report, slots.newest if slots else None, on_event)
    try:
        if misread := misread_as_read_only(directory):
            report.add(misread)
        if schema.exists(connection):
            schema.refuse_newer(connection)
            for finding in _quick_check(connection):
                report.add(f"SQLite's quick_check: {finding}")
            for difference in schema.differences(connection):
                report.add(f"the database's schema: {difference}")
            walk.run(connection)
    except JournalFromTheFuture as error:
        report.future = error
        return report
    except UNREADABLE as error:
        if not isinstance(meant := explain(error), JournalDamaged):
            raise meant from error  # the disk or the memory, and not what lies in the file
        report.add(f"SQLite cannot read on: {error}", report.head_seq + 1)
    if anchored:
        _compare_anchor(report, slots, walk)
    report.events_per_second = report.events / max(time.perf_counter() - started, 1e-9)
    return report


def _quick_check(connection: sqlite3.Connection) -> list[str]:
    """What SQLite finds wrong with its own structures."""
    # Beside a view, some releases take a check of everything for one of a part, which leaves out the list of free pages and
    # auto-vacuum. The check that names this table finds the one, and the other shows: page 2 could not be a table's then.
    rows = [
        *connection.execute("PRAGMA quick_check(20)"),
        *connection.execute("PRAGMA quick_check(sqlite_schema)"),
    ]
    findings = dict.fromkeys(row[0].decode(errors="replace") for row in rows if row[0] != b"ok")
    (vacuums,) = connection.execute("PRAGMA auto_vacuum").fetchone()
    if vacuums and connection.execute("SELECT 1 FROM sqlite_schema WHERE rootpage = 2").fetchone():
        findings["the header says that the file is vacuumed, and its pages contradict that"] = None
    return list(findings)


class _Walk:
    """One pass over the events. After a broken link it goes on from the stored hash, to find what else is broken."""

    def __init__(self, report: Report, anchored: Head | None, on_event: OnEvent | None) -> None:
        self._report = report
        self._anchored_seq = anchored.seq if anchored else 0
        self._on_event = on_event
        self.hash_at_anchor = GENESIS.hash
        self.last_commit = 0

    def run(self, connection: sqlite3.Connection) -> None:
        report, on_event, anchored_seq = self._report, self._on_event, self._anchored_seq
        previous, expected, commit = GENESIS.hash, 1, 0
        connection.text_factory = bytearray  # tells a text from a blob of the same bytes, which no view could read
        for seq, body, stored_hash in connection.execute("SELECT seq, body, hash FROM event ORDER BY seq"):
            if not isinstance(seq, int):
                report.add(f"event {expected} has no number", expected)
                previous, expected = GENESIS.hash, expected + 1
                continue
            if seq != expected:
                missing = f"{expected}" if seq == expected + 1 else f"{expected} to {seq - 1}"
                report.add(
                    f"event {missing} is missing" if seq > expected else f"event {seq} cannot be", min(seq, expected)
                )
            if not isinstance(body, bytearray) or not isinstance(stored_hash, bytes) or len(stored_hash) != HASH_BYTES:
                report.add(f"event {seq} has no text or no hash", seq)
                previous, expected = GENESIS.hash, seq + 1
                continue
            if sha256(previous + body).digest() != stored_hash:
                report.add(f"the hash of event {seq} does not fit its content and the event before", seq)
            try:
                recorded = decode(body)
            except JournalFromTheFuture as error:
                report.future = report.future or error
            except JournalDamaged as error:
                report.add(error.message, seq)
            else:
                if recorded.seq != seq or recorded.commit not in {seq, commit}:
                    report.add(f"event {seq} says that it is {recorded.seq} of commit {recorded.commit}", seq)
                commit = recorded.commit
                if on_event is not None and not report.problems and report.future is None:
                    on_event(recorded)
            previous, expected = stored_hash, seq + 1
            report.events += 1
            report.head_seq, report.head_hash, self.last_commit = seq, stored_hash, commit
            if seq == anchored_seq:
                self.hash_at_anchor = stored_hash


def _compare_anchor(report: Report, slots: Slots | None, walk: _Walk) -> None:
    head = report.head
    if slots is None:
        if head.seq > 0:
            report.add("the head anchor is missing: events may have been lost from the end", None)
        return
    if slots.newest is None:
        report.add("both slots of the head anchor are bad: events may have been lost from the end")
        return
    anchored = slots.newest
    if anchored.seq > head.seq:
        report.add(f"the head anchor is at event {anchored.seq}, the journal ends at {head.seq}", head.seq + 1)
    elif walk.hash_at_anchor != anchored.hash:
        report.add(f"the head anchor has another hash for event {anchored.seq}", anchored.seq or 1)
    elif anchored.seq < head.seq:
        # One commit: its events all name the first of them, which follows the anchored one.
        if walk.last_commit == anchored.seq + 1:
            report.anchor_behind = True
        else:
            report.add(f"the head anchor is at event {anchored.seq}, more than one commit behind {head.seq}", None)
    # Of two good slots the older one may be overwritten; beside a bad one, only a head that is ahead proves the tail.
    report.warnings += [_bad_slot(slot, proven=report.anchor_behind) for slot in slots.bad]


def _bad_slot(slot: int, *, proven: bool) -> str:
    doubt = "" if proven else "; if the last commit was lost as well, that cannot be seen"
    return f"slot {slot + 1} of the head anchor is bad: a crash tore its write, or it was damaged{doubt}"


def database_was_lost(directory: Path, slots: Slots | None) -> str | None:
    """Why a directory without events in its database is not a new one; None where it may be.

    A database that was deleted or emptied must not be taken for a fresh start.
    """
    database = directory / FILE_NAME
    if database.exists() and database.stat().st_size > 0:
        return None
    if slots is not None and (slots.newest is None or slots.newest.seq > 0):
        return f"{FILE_NAME} is missing or empty, and the head anchor says that there were events"
    wal = directory / f"{FILE_NAME}-wal"
    if wal.exists() and wal.stat().st_size > 0:
        return f"{FILE_NAME} is missing or empty, and {wal.name} is not"
    return None
