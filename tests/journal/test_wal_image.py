"""A database with its log applied in memory holds what SQLite itself would read from both files, whatever a crash left."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from serviceopt_journal.wal_image import apply

Row = tuple[int, bytes]


def written(place: Path, commits: list[list[int]], page: int, checkpoint_after: int | None) -> tuple[bytes, bytes]:
    """Bytes of a database and of its log after these commits, each of rows of these sizes; the writer then dies."""
    path = place / "a.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA page_size = {page}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("CREATE TABLE event (seq INTEGER PRIMARY KEY, body BLOB)")
        for number, sizes in enumerate(commits):
            connection.execute("BEGIN")
            for size in sizes:
                connection.execute("INSERT INTO event (body) VALUES (?)", (bytes([size % 251]) * size,))
            connection.execute("COMMIT")
            if number == checkpoint_after:
                connection.execute("PRAGMA wal_checkpoint(RESTART)")
        return path.read_bytes(), (place / "a.db-wal").read_bytes()


def by_sqlite(place: Path, database: bytes, log: bytes) -> list[Row] | str:
    (place / "b.db").write_bytes(database)
    (place / "b.db-wal").write_bytes(log)
    with closing(sqlite3.connect(place / "b.db")) as connection:
        return rows(connection)


def in_memory(database: bytes, log: bytes) -> list[Row] | str:
    with closing(sqlite3.connect(":memory:")) as connection:
        found = bytearray(database)
        apply(log, found)
        connection.deserialize(found)
        return rows(connection)


def rows(connection: sqlite3.Connection) -> list[Row] | str:
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return connection.execute("SELECT seq, body FROM event ORDER BY seq").fetchall()
    except sqlite3.OperationalError as error:
        return str(error)  # the table itself was not committed


@settings(max_examples=60, deadline=None)
@given(
    commits=st.lists(st.lists(st.integers(0, 9000), min_size=1, max_size=5), min_size=1, max_size=6),
    page=st.sampled_from([512, 4096, 16384]),
    checkpoint_after=st.none() | st.integers(0, 5),
    torn=st.none() | st.floats(0, 1),
    flipped=st.none() | st.floats(0, 1),
)
def test_it_holds_what_sqlite_reads(
    commits: list[list[int]], page: int, checkpoint_after: int | None, torn: float | None, flipped: float | None
) -> None:
    with TemporaryDirectory() as place:
        database, log = written(Path(place), commits, page, checkpoint_after)
        if torn is not None:
            log = log[: int(torn * len(log))]
        if flipped is not None and log:
            at = min(int(flipped * len(log)), len(log) - 1)
            log = log[:at] + bytes([log[at] ^ 1]) + log[at + 1 :]
        assert in_memory(database, log) == by_sqlite(Path(place), database, log)


def test_a_log_of_another_database_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    database, _ = written(tmp_path / "one", [[10], [20]], 4096, 1)
    assert (
        in_memory(database, b"") == in_memory(database, b"\x00" * 4096) == in_memory(database, b"not a log at all" * 99)
    )
    shutil.rmtree(tmp_path / "one")
