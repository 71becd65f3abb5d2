"""What happens when the writer opens its journal: nothing is changed before everything has been verified."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from . import schema
from .anchor import Anchor, Slots
from .chain import GENESIS, Head
from .database import FILE_NAME, ReadPlan, connect_for_writing
from .errors import EnvironmentLacks, JournalDamaged
from .failures import DAMAGE_HINT, explain, explained, passes
from .file_system import refuse_network_file_system, refuse_what_is_no_file, sync_directory, sync_if_there, sync_way_to
from .verification import OnEvent, Report, database_was_lost, examine

LAST_EVENT = "SELECT seq, hash FROM event ORDER BY seq DESC LIMIT 1"


def made(state_directory: Path) -> Path:
    """The state directory as an absolute path; it exists afterwards, mode 0750 if it is new.

    Raises:
        EnvironmentLacks: a network file system, or it cannot be made, or what lies there under a journal's name is no file.
        JournalFull, JournalUnreadable: it cannot be made now.
    """
    directory = state_directory.absolute()
    try:
        refuse_network_file_system(directory)
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        refuse_what_is_no_file(directory)
    except OSError as error:
        if passes(error):
            raise explain(error) from error
        raise EnvironmentLacks(
            f"{directory} cannot be made: {error.strerror}", hint="set SERVICEOPT_STATE_DIR to a directory that can"
        ) from error
    return directory


def verified(directory: Path, slots: Slots | None, *, on_event: OnEvent | None, anchored: bool) -> Report:
    """What lies in the directory, which is not changed by looking. An empty report where there is nothing yet.

    Raises:
        JournalDamaged, JournalFromTheFuture: nothing may be appended.
        JournalUnreadable: it cannot be read now.
        EnvironmentLacks: it cannot be read.
    """
    with explained(directory):
        report = _examined(directory, slots, on_event=on_event, anchored=anchored)
    if error := report.error():
        raise error
    return report


def _examined(directory: Path, slots: Slots | None, *, on_event: OnEvent | None, anchored: bool) -> Report:
    if lost := database_was_lost(directory, slots):
        raise JournalDamaged(f"the journal is damaged: {lost}", first_bad_seq=1, hint=DAMAGE_HINT)
    if not (directory / FILE_NAME).exists():
        return Report()
    with ReadPlan(directory, alone=True) as plan:
        connection = plan.connect()
        try:
            return examine(connection, slots, directory=directory, on_event=on_event, anchored=anchored)
        finally:
            connection.close()


def connected(
    directory: Path, slots: Slots | None, head: Head, *, anchored: bool
) -> tuple[sqlite3.Connection, Anchor | None]:
    """The writer's connection and its anchor, both on the verified head; makes what is missing, repairs a bad slot.

    Raises:
        sqlite3.Error, OSError: something could not be written.
        JournalDamaged: the database is not what was verified.
    """
    database = directory / FILE_NAME
    if not database.exists() or not database.stat().st_size:
        _make_database(directory)
    else:
        # A writer that was killed before its sync left what everybody reads by now, and a power loss would still take away.
        # Before SQLite's own opening: closing the file afterwards would drop its locks.
        sync_if_there(database)
        sync_if_there(directory / f"{FILE_NAME}-wal")
    connection = writable(directory, head)
    try:
        if anchored and slots is None:
            return connection, Anchor.create(directory, head)
        # Also where nothing is new: who made these files may have been killed before their names were on the disk.
        sync_directory(directory)
        if not anchored or slots is None:
            return connection, None
        anchor = Anchor.open(directory, slots)
        if slots.newest != head or slots.bad:
            anchor.write(head)  # into the slot that is not the newest good one
    except BaseException:
        connection.close()
        raise
    return connection, anchor


def _make_database(directory: Path) -> None:
    """Makes the file without events, durably and all at once: a crash leaves either no database or a whole one."""
    sync_way_to(directory)
    unfinished = f"{FILE_NAME}.new"
    _remove(directory, unfinished)
    try:
        connection = connect_for_writing(directory, name=unfinished)
        try:
            schema.bring_up(connection)
            # Closing would do it as well, but not say when it failed.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            connection.close()
        (directory / unfinished).rename(directory / FILE_NAME)
    finally:
        with contextlib.suppress(OSError):
            _remove(directory, unfinished)
    sync_directory(directory)


def _remove(directory: Path, name: str) -> None:
    for companion in ("", "-wal", "-shm", "-journal"):
        (directory / f"{name}{companion}").unlink(missing_ok=True)


def writable(directory: Path, head: Head) -> sqlite3.Connection:
    """The writer's connection, once it is sure that it can write and stands on the verified head.

    Raises:
        sqlite3.Error, OSError: it cannot write.
        JournalDamaged: the database is not what was verified.
    """
    connection = connect_for_writing(directory)
    try:
        schema.bring_up(connection)
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
        _refuse_other_state(connection, head)
    except BaseException:
        connection.close()
        raise
    return connection


def _refuse_other_state(connection: sqlite3.Connection, head: Head) -> None:
    found = Head(*(connection.execute(LAST_EVENT).fetchone() or GENESIS))
    if found != head:
        raise JournalDamaged(
            f"the journal ended at event {head.seq} when it was verified, and now ends at {found.seq}",
            first_bad_seq=min(head.seq, found.seq) + 1,
            hint=DAMAGE_HINT,
        )
