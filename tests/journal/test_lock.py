"""What can go wrong with the lock's file is told with a hint, and never taken for damage."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from journal_builders import a_journal
from serviceopt_journal import anchor
from serviceopt_journal.errors import EnvironmentLacks, ExitCode, JournalUnreadable
from serviceopt_journal.lock import WriterLock
from serviceopt_journal.store import Journal
from serviceopt_journal.verification import examine


def failing(code: int) -> Any:
    def fails(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return fails


def test_a_file_system_that_cannot_lock_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK))
    with pytest.raises(EnvironmentLacks, match="cannot be locked") as told:
        WriterLock.acquire(tmp_path)
    assert (told.value.exit_code, bool(told.value.hint)) == (ExitCode.ENVIRONMENT, True)


def test_a_directory_that_takes_the_place_of_the_lock_is_told(tmp_path: Path) -> None:
    (tmp_path / "journal.lock").mkdir()
    with pytest.raises(EnvironmentLacks, match="cannot be opened"):
        WriterLock.acquire(tmp_path)


@pytest.mark.parametrize("call", ["ftruncate", "pwrite"])
def test_a_lock_whose_holder_cannot_be_written_down_holds_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    lock = WriterLock.acquire(tmp_path)
    monkeypatch.setattr(os, call, failing(errno.ENOSPC))
    lock.sign()
    lock.release()


def test_an_anchor_that_the_disk_does_not_give_is_told_with_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_journal(tmp_path)
    monkeypatch.setattr("serviceopt_journal.store.read_anchor", failing(errno.EIO))
    with pytest.raises(JournalUnreadable, match="cannot be read"):
        Journal.open(tmp_path)


class Failing(sqlite3.Connection):
    """A connection whose disk fails once the events are read."""

    def execute(self, sql: str, *arguments: Any) -> Any:
        if sql.startswith("SELECT seq, body"):
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_READ
            raise error
        return super().execute(sql, *arguments)


def test_a_disk_that_fails_while_the_events_are_read_is_not_damage(tmp_path: Path) -> None:
    a_journal(tmp_path)
    connection = sqlite3.connect(tmp_path / "journal.db", factory=Failing)
    connection.text_factory = bytes
    with pytest.raises(JournalUnreadable, match="disk I/O error"):
        examine(connection, anchor.read_anchor(tmp_path), directory=tmp_path)
    connection.close()
