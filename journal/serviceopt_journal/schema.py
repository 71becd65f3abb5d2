"""The database's only table, what guards it, and the views. Made once; afterwards only compared, never altered."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from .errors import JournalFromTheFuture
from .views import VIEWS

APPLICATION_ID = 0x53564F50  # "SVOP", in the file's header: `file journal.db` tells what it is
SCHEMA_VERSION = 1

# `body` alone holds the facts, and `hash` covers all of it: no column can be changed behind the chain's back. What
# queries need is taken out of `body` by the views; as generated columns it would cost five times the whole insert.
_TABLE = "CREATE TABLE event (seq INTEGER PRIMARY KEY, body TEXT NOT NULL, hash BLOB NOT NULL)"
# REPLACE deletes, and with `recursive_triggers` (the writer's connection and sqlite-utils set it) fires `no_delete`. A third
# trigger, on INSERT, would stand for every connection, but doubles the time of an insert; the chain finds the rest.
_GUARDS: Mapping[str, str] = {
    "no_update": (
        "CREATE TRIGGER no_update BEFORE UPDATE ON event "
        "BEGIN SELECT RAISE(ABORT, 'the journal is append-only: events are never changed'); END"
    ),
    "no_delete": (
        "CREATE TRIGGER no_delete BEFORE DELETE ON event "
        "BEGIN SELECT RAISE(ABORT, 'the journal is append-only: events are never deleted'); END"
    ),
}


def exists(connection: sqlite3.Connection) -> bool:
    """Whether the event table has been made."""
    return (
        connection.execute("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'event'").fetchone() is not None
    )


def refuse_newer(connection: sqlite3.Connection) -> None:
    """Returns when this release knows the layout of the database.

    Raises:
        JournalFromTheFuture: a newer release made it.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise JournalFromTheFuture(
            f"the journal has layout {version}, this release knows {SCHEMA_VERSION} and older ones",
            hint="use the release of serviceopt that wrote it, or a newer one; nothing was changed",
        )


def differences(connection: sqlite3.Connection) -> list[str]:
    """What is not as it was made: the table, or the triggers that guard it. Views hold no facts and may differ."""
    stored, unreadable = {}, []
    for kind, name, table, sql in _statements(connection):
        if "\ufffd" in name + sql:
            unreadable.append(f"the text of {name!r} is not readable")
        elif kind != "view" and table == "event":
            stored[name] = sql
    expected = {"event": _TABLE, **_GUARDS}
    changed = [f"{name!r} was changed" for name in expected if name in stored and stored[name] != expected[name]]
    missing = [f"{name!r} is missing" for name in expected if name not in stored]
    added = [f"{name!r} was added" for name in stored if name not in expected]
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    foreign = [] if application_id == APPLICATION_ID else ["the file is not marked as a journal of serviceopt"]
    return missing + changed + added + unreadable + foreign


def bring_up(connection: sqlite3.Connection) -> None:
    """Makes what is missing: everything in a new journal, a view that this release defines otherwise in an old one.

    Raises:
        sqlite3.Error: it could not be written; nothing was changed.
    """
    new = not exists(connection)
    if not new and _views_are_current(connection):
        return
    # Imported here: it costs more than opening a journal, and an existing one does not need it.
    from sqlite_utils import Database

    database = Database(connection)
    connection.execute("BEGIN IMMEDIATE")
    try:
        if new:
            for statement in (_TABLE, *_GUARDS.values()):
                database.execute(statement)
            database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        for name, select in VIEWS.items():
            database.execute(f'DROP VIEW IF EXISTS "{name}"')
            database.create_view(name, select)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _views_are_current(connection: sqlite3.Connection) -> bool:
    stored = {name: sql for kind, name, _, sql in _statements(connection) if kind == "view"}
    return all(stored.get(name, "").endswith(f" AS {select}") for name, select in VIEWS.items())


def _statements(connection: sqlite3.Connection) -> list[tuple[str, str, str, str]]:
    """Kind, name, table and text of everything in the database; bytes that are no text are replaced by U+FFFD."""
    columns = ", ".join(f"CAST(coalesce({column}, '') AS BLOB)" for column in ("type", "name", "tbl_name", "sql"))
    rows = connection.execute(f"SELECT {columns} FROM sqlite_schema").fetchall()  # noqa: S608 - constants only
    return [(_text(kind), _text(name), _text(table), _text(sql)) for kind, name, table, sql in rows]


def _text(stored: bytes) -> str:
    return stored.decode(errors="replace")
