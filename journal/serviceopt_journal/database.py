"""How the database file is opened: by the one writer, and by readers that never change a byte of the directory's data.

A reader cannot simply open a WAL database: SQLite would make `-wal` and `-shm` files, or rebuild them after a crash,
and where the directory cannot be written it would refuse. So `ReadPlan` looks first at which files lie there.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Self, TypeVar
from urllib.parse import quote

from .errors import EnvironmentLacks, JournalError, NotFound
from .failures import explain, unwritable
from .file_system import refuse_what_is_no_file
from .wal_image import apply

FILE_NAME = "journal.db"
# 16 KiB pages: a batch needs a quarter of the writes of 4 KiB ones, and a single event is hardly slower.
_PAGE_BYTES = 16384
_CHECKPOINT_PAGES = 500
_COPY_ATTEMPTS = 20
_WAL_ATTEMPTS = 2  # a disk that fails leaves the mode as it was, without an error
_LONGEST_IN_MEMORY = 1 << 30  # bytes of database and WAL that the writer verifies in memory, and not in a copy
_VERSIONS_AT = 18  # byte of the header
_CANNOT_BE_SHARED = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR})

Result = TypeVar("Result")


def connect_for_writing(directory: Path, *, name: str = FILE_NAME) -> sqlite3.Connection:
    """The writer's connection; makes the file where it is missing. Transactions are the caller's.

    Raises:
        sqlite3.Error: it cannot be opened, or is no database.
        OSError: the file cannot be made.
        EnvironmentLacks: the file system does not let SQLite keep a write-ahead log.
    """
    path = directory / name
    # Made here and not by SQLite, so that it and its companions have the mode that lets the group read.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640))
    # The journal serialises its callers itself, whichever thread they run in.
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        _set_to_wal(connection, directory)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA recursive_triggers = ON")
        # Some distributions have it on; it overwrites what is deleted, and here nothing ever is.
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    except BaseException:
        connection.close()
        raise
    return connection


def misread_as_read_only(directory: Path) -> str | None:
    """What is wrong with the two bytes of the file's header by which SQLite decides whether it may write; None: nothing.

    It says nothing about them itself, and the first commit would fail.

    Raises:
        OSError: the file cannot be read.
    """
    with (directory / FILE_NAME).open("rb") as file:
        versions = file.read(_VERSIONS_AT + 2)[_VERSIONS_AT:]
    if not versions or versions in (b"\x01\x01", b"\x02\x02"):
        return None
    return f"the header names the versions {versions.hex(' ')} of its format, which are none of SQLite's"


def _set_to_wal(connection: sqlite3.Connection, directory: Path) -> None:
    for _ in range(_WAL_ATTEMPTS):
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode == "wal":
            return
    raise unwritable(directory) or EnvironmentLacks(f"SQLite keeps the journal in mode {mode} and not in WAL mode here")


class _Way(Enum):
    SHARED = "beside a writer: its -shm file is there"
    IMMUTABLE = "everything is in the database file"
    COPY = "a writer died: its -wal file must be read, and reading in place would change files"
    MEMORY = "the same, for the next writer, who must not need room elsewhere; or there is none for a copy"


class ReadPlan:
    """Gives read-only connections to one state of the directory. Use as a context manager.

    Args:
        directory: the state directory.
        alone: the caller holds the writer lock, so no writer is at work whatever files lie there.

    Raises:
        NotFound: there is no journal.
    """

    def __init__(self, directory: Path, *, alone: bool = False) -> None:
        self._directory = directory
        self._alone = alone
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        self._way = self._choose()
        self._before = self._signature()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._copy is not None:
            self._copy.cleanup()

    def connect(self) -> sqlite3.Connection:
        """A new connection, with text as bytes. The caller closes it soon: an open transaction holds up checkpoints.

        Raises:
            sqlite3.Error: the file is not readable as a database.
            EnvironmentLacks: this user may not read it.
        """
        if self._way is _Way.SHARED:
            try:
                return self._opened(self._directory, "mode=ro")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in _CANNOT_BE_SHARED:
                    raise
                # Companion files that must be recovered, which this user may not do or has no room for, and no writer
                # that would.
                self._way = _Way.COPY
        if self._way is _Way.IMMUTABLE:
            return self._opened(self._directory, "mode=ro&immutable=1")
        if self._way is _Way.COPY:
            try:
                self._copy = self._copy or self._copied()
                return self._opened(Path(self._copy.name), "mode=rw")
            except OSError:
                self._copy = None
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL}:
                    raise
            self._way = _Way.MEMORY
        return self._in_memory()

    def settled(self) -> bool:
        """Whether what was read so far is one state. If not, a writer began meanwhile: read again with a new plan."""
        return self._way is not _Way.IMMUTABLE or self._signature() == self._before

    def _choose(self) -> _Way:
        refuse_what_is_no_file(self._directory)
        if not (self._directory / FILE_NAME).exists():
            raise NotFound(
                f"there is no journal in {self._directory}",
                hint="nothing has been run here yet, or SERVICEOPT_STATE_DIR points elsewhere",
            )
        if not self._alone and _size(self._directory / f"{FILE_NAME}-shm") is not None:
            return _Way.SHARED
        wal = _size(self._directory / f"{FILE_NAME}-wal")
        if not wal:
            return _Way.IMMUTABLE
        small = wal + (self._directory / FILE_NAME).stat().st_size <= _LONGEST_IN_MEMORY
        return _Way.MEMORY if self._alone and small else _Way.COPY

    def _opened(self, directory: Path, how: str) -> sqlite3.Connection:
        path = directory / FILE_NAME
        if not os.access(path, os.R_OK):
            raise EnvironmentLacks(
                f"{path} cannot be read by this user", hint="join the group that owns it, or use sudo"
            )
        connection = sqlite3.connect(f"file:{quote(str(path.absolute()))}?{how}", uri=True, isolation_level=None)
        connection.text_factory = bytes
        try:
            # The first access is what opens the companion files.
            connection.execute("PRAGMA schema_version").fetchone()
        except BaseException:
            connection.close()
            raise
        return connection

    def _copied(self) -> tempfile.TemporaryDirectory[str]:
        """The database and its WAL, copied aside while nothing changed them."""
        copy = tempfile.TemporaryDirectory(prefix="serviceopt-journal-")
        try:
            self._copy_into(Path(copy.name))
        except BaseException:
            copy.cleanup()
            raise
        return copy

    def _in_memory(self) -> sqlite3.Connection:
        """The same without a copy on any disk. Takes as much memory as the journal is long, twice while it is opened."""
        paths = [self._directory / name for name in (FILE_NAME, f"{FILE_NAME}-wal")]
        try:
            database, log = self._unchanged(lambda: [_read(path) for path in paths])
        except (OSError, MemoryError) as error:
            raise explain(error) from error
        connection = sqlite3.connect(":memory:", isolation_level=None)
        connection.text_factory = bytes
        try:
            apply(log, database)
            connection.deserialize(database)
            connection.execute("PRAGMA schema_version").fetchone()
        except MemoryError as error:
            connection.close()
            raise explain(error) from error
        except BaseException:
            connection.close()
            raise
        return connection

    def _copy_into(self, place: Path) -> None:
        def copied() -> None:
            for name in (FILE_NAME, f"{FILE_NAME}-wal"):
                source = self._directory / name
                if source.exists():
                    shutil.copyfile(source, place / name)

        # Only where no writer is alive: in a writer's own process, closing the file here would drop SQLite's locks on it.
        self._unchanged(copied)

    def _unchanged(self, reading: Callable[[], Result]) -> Result:
        """What `reading` gave while the files stayed as they were."""
        for _ in range(_COPY_ATTEMPTS):
            before = self._signature()
            found = reading()
            if self._signature() == before:
                return found
        raise JournalError(f"the journal in {self._directory} changes faster than it can be copied", hint="try again")

    def _signature(self) -> tuple[object, ...]:
        database = (self._directory / FILE_NAME).stat()
        wal = _size(self._directory / f"{FILE_NAME}-wal")
        return (database.st_ino, database.st_size, database.st_mtime_ns, wal or 0)


def _read(path: Path) -> bytearray:
    """The file's bytes, held once; empty where there is no such file."""
    content = bytearray(_size(path) or 0)
    if content:
        with path.open("rb", buffering=0) as file:
            read = 0
            while count := file.readinto(memoryview(content)[read:]):
                read += count
        del content[read:]
    return content


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None
