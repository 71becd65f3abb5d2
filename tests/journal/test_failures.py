"""A disk, a memory or a limit that fails is told apart from damage, and from what does not pass by itself."""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
from pathlib import Path

import pytest

from journal_builders import a_journal, a_killed_journal, contents
from serviceopt_journal import database, failures
from serviceopt_journal.artefacts import ArtefactStore
from serviceopt_journal.errors import EnvironmentLacks, ExitCode, JournalDamaged, JournalFull, JournalUnreadable
from serviceopt_journal.failures import explain, explained, is_full
from serviceopt_journal.lock import WriterLock
from serviceopt_journal.store import Journal


def of_sqlite(code: int, message: str = "as SQLite says") -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(message)
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        (sqlite3.SQLITE_IOERR_READ, JournalUnreadable),
        (sqlite3.SQLITE_NOMEM, JournalUnreadable),
        (sqlite3.SQLITE_FULL, JournalUnreadable),
        (sqlite3.SQLITE_READONLY, EnvironmentLacks),
        (sqlite3.SQLITE_READONLY_RECOVERY, EnvironmentLacks),
        (sqlite3.SQLITE_CANTOPEN, EnvironmentLacks),
        (sqlite3.SQLITE_CORRUPT, JournalDamaged),
        (sqlite3.SQLITE_NOTADB, JournalDamaged),
    ],
)
def test_only_the_content_of_the_file_is_called_damage(code: int, meaning: type[Exception]) -> None:
    error = explain(of_sqlite(code))
    assert type(error) is meaning
    assert "as SQLite says" in error.message
    assert error.hint
    assert (error.exit_code == ExitCode.JOURNAL_DAMAGED) == (meaning is JournalDamaged)


def test_sqlite_that_opens_no_file_for_want_of_descriptors_is_told_so_and_not_of_permissions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lacking(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "open", lacking)
    error = explain(of_sqlite(sqlite3.SQLITE_CANTOPEN))
    assert type(error) is JournalUnreadable
    assert os.strerror(errno.EMFILE).lower() in error.message


@pytest.mark.parametrize(
    ("number", "meaning"),
    [
        (errno.ENOSPC, JournalFull),
        (errno.EDQUOT, JournalFull),
        (errno.EIO, JournalUnreadable),
        (errno.EROFS, JournalUnreadable),
        (errno.ENOMEM, JournalUnreadable),
        (errno.EMFILE, JournalUnreadable),
        (errno.ENFILE, JournalUnreadable),
        (errno.EACCES, EnvironmentLacks),
        (errno.EPERM, EnvironmentLacks),
    ],
)
def test_what_the_system_refuses_is_told_by_its_number_wherever_it_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, meaning: type[Exception]
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    a_journal(tmp_path)
    before = contents(tmp_path)
    for target, call in ((os, "open"), (Path, "mkdir"), (Path, "read_bytes"), (Path, "stat")):
        with monkeypatch.context() as patched:
            patched.setattr(target, call, fails)
            with pytest.raises(meaning) as told:
                Journal.open(tmp_path)
        assert os.strerror(number).lower() in str(told.value).lower()
        assert "Errno" not in str(told.value)
        assert number != errno.EROFS or "the journal is on a read-only file system" in str(told.value)
        assert told.value.exit_code == ExitCode.ENVIRONMENT  # type: ignore[attr-defined]
        assert contents(tmp_path) == before


def test_memory_that_is_used_up_is_not_damage() -> None:
    assert isinstance(explain(MemoryError()), JournalUnreadable)


def test_memory_that_is_used_up_while_a_journal_is_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise MemoryError

    a_killed_journal(tmp_path, commits=3)
    monkeypatch.setattr(database, "apply", fails)
    with pytest.raises(JournalUnreadable, match="memory"):
        Journal.open(tmp_path)


def test_no_file_left_to_open_is_not_a_matter_of_permissions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite says only that it cannot open: the reason is found by trying."""
    with pytest.raises(EnvironmentLacks, match="cannot be opened"), explained(tmp_path):
        raise of_sqlite(sqlite3.SQLITE_CANTOPEN)
    for number, meaning in (
        (errno.EMFILE, JournalUnreadable),
        (errno.EROFS, JournalUnreadable),
        (errno.ENOSPC, JournalFull),
    ):
        monkeypatch.setattr(failures, "unwritable", lambda _, number=number: OSError(number, os.strerror(number)))
        for code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            with pytest.raises(meaning), explained(tmp_path):
                raise of_sqlite(code)


def test_a_full_quota_is_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite takes EDQUOT for a failed write."""
    assert not is_full(of_sqlite(sqlite3.SQLITE_IOERR_WRITE), tmp_path)
    assert list(tmp_path.iterdir()) == []
    write = os.pwrite

    def quota(descriptor: int, data: bytes, offset: int) -> int:
        if len(data) > 4096:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        return write(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", quota)
    assert is_full(of_sqlite(sqlite3.SQLITE_IOERR_WRITE), tmp_path)
    assert not is_full(of_sqlite(sqlite3.SQLITE_IOERR_FSYNC), tmp_path)  # what is on the disk is unknown then


def test_a_kept_file_that_exceeds_the_quota_is_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def quota(*_: object, **__: object) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "fsync", quota)
    with pytest.raises(JournalFull):
        ArtefactStore(tmp_path).keep(b"a result")


def test_the_next_writer_needs_no_room_anywhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a copy was made")

    acknowledged = a_killed_journal(tmp_path, commits=5)
    assert (tmp_path / "journal.db-wal").stat().st_size > 0
    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    with Journal.open(tmp_path) as journal:
        assert journal.head.seq >= acknowledged[-1]


def test_a_journal_that_memory_should_not_hold_is_copied_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    acknowledged = a_killed_journal(tmp_path / "state", commits=5)
    (tmp_path / "aside").mkdir()
    made: list[str] = []
    copy = tempfile.TemporaryDirectory

    def noted(**how: str) -> tempfile.TemporaryDirectory[str]:
        made.append(how["prefix"])
        return copy(dir=tmp_path / "aside", **how)

    monkeypatch.setattr(database, "_LONGEST_IN_MEMORY", 1000)
    monkeypatch.setattr(tempfile, "TemporaryDirectory", noted)
    with Journal.open(tmp_path / "state") as journal:
        assert journal.head.seq >= acknowledged[-1]
    assert made == ["serviceopt-journal-"]
    assert list((tmp_path / "aside").iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EMFILE])
def test_a_lock_that_cannot_be_made_now_is_not_a_matter_of_permissions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", fails)
    with pytest.raises((JournalFull, JournalUnreadable)):
        WriterLock.acquire(tmp_path)
