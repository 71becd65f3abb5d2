"""What a failure of SQLite, of the system or of the memory means. Damage only where the content of the file is to blame."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from .errors import EnvironmentLacks, JournalDamaged, JournalError, JournalFull, JournalUnreadable, ServiceoptError

DAMAGE_HINT = (
    "`serviceoptctl journal verify` lists every problem, `serviceoptctl export --events --until N` saves what is good; "
    "nothing was changed"
)
FAILING_HINT = "check for a full disk or memory, and the kernel's log for disk errors; nothing was changed"
READ_ONLY_HINT = (
    "what is there can be looked at; to tune, make it writable (`mount -o remount,rw ...`; the kernel's log says why it is "
    "not), or name another place in SERVICEOPT_STATE_DIR"
)
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Error numbers of a disk, or of a quota, that is full."""
LACKS = NO_ROOM | {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN}
"""Error numbers of a full disk or quota, of no descriptors, and of no memory or processes."""
_IN_WORDS = tuple(os.strerror(number).lower() for number in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC))
_PASSING = frozenset({errno.EIO, errno.EROFS, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.EINTR})
# SQLite's message about a damaged schema repeats the damaged bytes; where they are not UTF-8, sqlite3 fails to decode it.
# It raises MemoryError for SQLITE_NOMEM.
UNREADABLE = (sqlite3.Error, UnicodeDecodeError, MemoryError)
_NOT_OPENED = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_READONLY})
_ROOM_TRIED = 64 * 1024  # bytes: more than a page and its frame
_FILES_OF_SQLITE = 8  # more than it holds open at once, with the anchor: they are closed again when it has failed


def explain(error: sqlite3.Error | UnicodeDecodeError | MemoryError | OSError) -> ServiceoptError:
    """Returns what the user is told: JournalFull and JournalUnreadable may pass by themselves, the others do not."""
    if isinstance(error, MemoryError):
        return JournalUnreadable("the journal cannot be used now: out of memory", hint=FAILING_HINT)
    if isinstance(error, OSError):
        return _of_the_system(error)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return JournalError(f"the journal is busy: {error}", hint="try again")
    if code == sqlite3.SQLITE_CANTOPEN and (lacking := _without_descriptors()):  # it keeps the error number to itself
        return _of_the_system(lacking)
    if code in _NOT_OPENED:
        return EnvironmentLacks(f"the journal cannot be opened: {error}", hint="check the permissions of its files")
    if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_FULL):
        return JournalUnreadable(f"the journal cannot be used now: {error}", hint=FAILING_HINT)
    return JournalDamaged(f"SQLite cannot read the journal: {error}", hint=DAMAGE_HINT)


def passes(error: OSError) -> bool:
    """Says whether it may be over later, without a change of this machine's set-up."""
    return error.errno in NO_ROOM | _PASSING


def is_a_lack(error: BaseException) -> bool:
    """Says whether something was lacking that may be there again: room, file descriptors, memory, processes."""
    if isinstance(error, ImportError):  # the dynamic linker tells its errors in words only
        return any(words in str(error).lower() for words in _IN_WORDS)
    return isinstance(error, JournalFull | MemoryError) or (isinstance(error, OSError) and error.errno in LACKS)


def _of_the_system(error: OSError) -> ServiceoptError:
    if error.errno in NO_ROOM:
        return JournalFull(f"there is no room on the disk for the journal: {_told(error)}", hint="make room")
    if error.errno == errno.EROFS:
        return JournalUnreadable(f"the journal is on a read-only file system: {_told(error)}", hint=READ_ONLY_HINT)
    if error.errno in _PASSING:
        return JournalUnreadable(
            f"the journal's files cannot be read or written now: {_told(error)}", hint=FAILING_HINT
        )
    return EnvironmentLacks(
        f"the journal's files cannot be read or written: {_told(error)}", hint="check the permissions, and the disk"
    )


def _told(error: OSError) -> str:
    """What the system says, with the file, and without the number that only programmers know."""
    what = (error.strerror or str(error)).lower()
    return f"{error.filename}: {what}" if error.filename else what


@contextlib.contextmanager
def explained(directory: Path) -> Iterator[None]:
    """Turns errors of SQLite, of the system and of the memory into ours. The block writes in `directory`.

    Raises:
        JournalFull, JournalUnreadable, JournalDamaged, EnvironmentLacks: by what happened.
    """
    try:
        yield
    except sqlite3.Error as error:
        if is_full(error, directory):
            raise JournalFull(
                "there is no room on the disk for the journal", hint=f"make room on {directory}"
            ) from error
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        lacking = unwritable(directory) if code in _NOT_OPENED else None  # SQLite keeps the error number to itself
        raise explain(lacking or error) from error
    except (UnicodeDecodeError, MemoryError, OSError) as error:
        raise explain(error) from error


def is_full(error: sqlite3.Error, directory: Path) -> bool:
    """Whether there is no room on the disk; what was being written can be tried again on a new connection."""
    code = getattr(error, "sqlite_errorcode", 0)
    # The shared memory file holds nothing durable: that it cannot grow only means that the disk is full.
    if code & 0xFF == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_SHMSIZE:
        return True
    # SQLite knows a full disk, but not a full quota; a write that failed is as far from durable in either case.
    if code not in (sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR_SHMOPEN):
        return False
    lacking = unwritable(directory)
    return lacking is not None and lacking.errno in NO_ROOM


def unwritable(directory: Path) -> OSError | None:
    """Why no file can be written in the directory now, found by trying and without a trace; None: none that shows."""
    with contextlib.ExitStack() as opened:
        try:
            descriptor = _opened(opened, directory, os.O_TMPFILE | os.O_RDWR)
            os.pwrite(descriptor, bytes(_ROOM_TRIED), 0)
            for _ in range(_FILES_OF_SQLITE):
                _opened(opened, directory, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            # A file system without unnamed files tells nothing.
            return None if error.errno in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT) else error
    return None


def _without_descriptors() -> OSError | None:
    """Why SQLite could open no file, where it is for want of descriptors."""
    with contextlib.ExitStack() as opened:
        try:
            for _ in range(_FILES_OF_SQLITE):
                _opened(opened, Path(os.devnull), os.O_RDONLY)
        except OSError as error:
            return error if error.errno in (errno.EMFILE, errno.ENFILE) else None
    return None


def _opened(until: contextlib.ExitStack, path: Path, how: int) -> int:
    descriptor = os.open(path, how | os.O_CLOEXEC, 0o600)
    until.callback(os.close, descriptor)
    return descriptor
