"""The journal as its one writer sees it: open, verify, append."""

from __future__ import annotations

import contextlib
import functools
import sqlite3
import threading
from itertools import accumulate, chain, count
from pathlib import Path
from typing import Self

from .anchor import Anchor, read_anchor
from .chain import Head, link
from .clock import Clock, SystemClock
from .codec import Recorded, encode_commit
from .database import FILE_NAME
from .errors import JournalError, JournalFull, JournalWriteFailed
from .events import Event
from .failures import explained, is_full
from .lock import WriterLock
from .opening import LAST_EVENT, connected, made, verified, writable
from .verification import OnEvent

_ROWS_EACH_STATEMENT = 100


class Journal:
    """The right and the means to append. Made by `Journal.open`; safe to use from any thread, one at a time.

    Attributes:
        repaired: what opening found wrong and has put right, in words; it belongs in the log.
    """

    def __init__(
        self,
        *,
        directory: Path,
        lock: WriterLock,
        connection: sqlite3.Connection,
        anchor: Anchor | None,
        head: Head,
        clock: Clock,
        repaired: tuple[str, ...] = (),
    ) -> None:
        self._directory = directory
        self._lock = lock
        self._connection = connection
        self._anchor = anchor
        self._head = head
        self._clock = clock
        self.repaired = repaired
        self._boot_id = clock.boot_id()
        self._refusal: JournalError | None = None
        self._guard: sqlite3.Connection | None = None
        self._closed = False
        self._appending = threading.Lock()

    @classmethod
    def open(
        cls, state_directory: Path, *, clock: Clock | None = None, anchor: bool = True, on_event: OnEvent | None = None
    ) -> Self:
        """Takes the writer lock, verifies everything, and is ready to append. A refused opening changes nothing.

        Args:
            state_directory: made (mode 0750) if it is missing.
            clock: stamps the events; the machine's clocks if not given.
            anchor: False leaves the head anchor out, for measurements only: such a journal does not open with it.
            on_event: called with every event while it is verified, so that the journal is read once.

        Raises:
            JournalLocked: another process writes this journal.
            JournalDamaged: verification failed.
            JournalFromTheFuture: a newer release wrote it.
            JournalFull: there is no room for its files.
            JournalUnreadable: the disk or the memory fails now, or no file can be opened; trying again may help.
            EnvironmentLacks: a network file system, or a directory that this user cannot write.
        """
        directory = made(state_directory)
        lock = WriterLock.acquire(directory)
        try:
            with explained(directory):
                clock = clock or SystemClock()
                slots = read_anchor(directory) if anchor else None
            report = verified(directory, slots, on_event=on_event, anchored=anchor)
            with explained(directory):
                connection, writer_anchor = connected(directory, slots, report.head, anchored=anchor)
            journal = cls(
                directory=directory,
                lock=lock,
                connection=connection,
                anchor=writer_anchor,
                head=report.head,
                clock=clock,
                repaired=tuple(report.warnings),
            )
            lock.sign()
        except BaseException:
            lock.withdraw()
            raise
        return journal

    @property
    def head(self) -> Head:
        """The last acknowledged event."""
        return self._head

    def append(self, *events: Event) -> tuple[Recorded, ...]:
        """Writes the events in one commit; returns them as a replay will give them back, once they are durable.

        Raises:
            JournalFull: no room on the disk; nothing was written. `reopen` before trying again.
            JournalWriteFailed: the commit or a sync failed; this object takes no more events, the process must end.
            EventNotStorable: an event could not be read back; nothing was written.
        """
        with self._appending:
            if self._refusal is not None:
                raise self._refusal
            if not events:
                return ()
            bodies, records = encode_commit(
                events,
                first_seq=self._head.seq + 1,
                time=self._clock.wall(),
                monotonic=self._clock.monotonic(),
                boot_id=self._boot_id,
            )
            hashes = list(accumulate(bodies, link, initial=self._head.hash))[1:]
            self._commit(list(chain.from_iterable(zip(count(self._head.seq + 1), map(bytes.decode, bodies), hashes))))
            head = Head(self._head.seq + len(bodies), hashes[-1])
            if self._anchor is not None:
                try:
                    self._anchor.write(head)
                except OSError as error:
                    raise self._failed(f"the head anchor could not be written: {error}") from error
            self._head = head
            return records

    def reopen(self) -> None:
        """Takes a new connection after JournalFull, so that appending may be tried again.

        Raises:
            JournalFull: there is still no room.
            JournalUnreadable: the disk fails now.
            JournalWriteFailed: an earlier commit or sync failed for another reason.
        """
        with self._appending:
            if isinstance(self._refusal, JournalWriteFailed):
                raise self._refusal
            self._connection.close()
            with explained(self._directory):
                self._connection = writable(self._directory, self._head)
            self._refusal = None

    def close(self) -> None:
        """Closes the files and releases the lock. What was appended stays; a failed journal is left exactly as it failed."""
        if self._closed:
            return
        self._closed = True
        if self._refusal is None and self._anchor is not None:
            # At rest both slots name the last event: one that rots hides no loss. What fails here is told at the next start.
            with contextlib.suppress(OSError):
                self._anchor.write(self._head)
        self._refusal = self._refusal or JournalWriteFailed("the journal is closed")
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()
        if self._guard is not None:
            self._guard.close()
        if self._anchor is not None:
            self._anchor.close()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _commit(self, values: list[int | str | bytes]) -> None:
        connection = self._connection
        try:
            # IMMEDIATE: a deferred transaction that reads first can fail to upgrade (SQLITE_BUSY_SNAPSHOT).
            connection.execute("BEGIN IMMEDIATE")
            for start in range(0, len(values), 3 * _ROWS_EACH_STATEMENT):
                chunk = values[start : start + 3 * _ROWS_EACH_STATEMENT]
                connection.execute(_insertion(len(chunk) // 3), chunk)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            if is_full(error, self._directory):
                self._refusal = JournalFull(
                    "there is no room on the disk: nothing was written", hint=f"make room on {self._directory}"
                )
                raise self._refusal from error
            raise self._failed(f"a commit failed: {error}") from error

    def _failed(self, reason: str) -> JournalWriteFailed:
        self._refusal = JournalWriteFailed(
            f"{reason}; what is on the disk is unknown until the journal is opened again",
            hint="the daemon ends and is restarted; if this repeats, check the disk",
        )
        # Closing the last connection checkpoints, and after a failed sync the pages in memory must not be trusted.
        # While this one is open, SQLite cannot take the lock that a checkpoint needs; read-only, it never will itself.
        with contextlib.suppress(sqlite3.Error):
            self._guard = sqlite3.connect(
                f"file:{self._directory / FILE_NAME}?mode=ro", uri=True, check_same_thread=False
            )
            self._guard.execute(LAST_EVENT).fetchone()
            self._connection.close()
        return self._refusal


@functools.cache
def _insertion(rows: int) -> str:
    """The statement that inserts so many rows: half the time of `executemany`. The connection keeps it prepared."""
    # OR ROLLBACK: the whole commit fails or none of it, so SQLite need not keep what one statement could undo.
    return f"INSERT OR ROLLBACK INTO event (seq, body, hash) VALUES {', '.join(['(?, ?, ?)'] * rows)}"  # noqa: S608 - no values in it
