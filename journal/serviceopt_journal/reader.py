"""The journal as everybody else sees it: read-only, with or without a live writer, as any user who may read the files."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import Self

from . import schema
from .chain import GENESIS, Head
from .codec import Recorded, decode
from .database import ReadPlan
from .errors import JournalDamaged
from .failures import DAMAGE_HINT, UNREADABLE, explain
from .views import VIEWS

_ROWS_AT_ONCE = 2000
# Not the view of that name: what lies in the file may be damaged, or another release's.
_EVENTS = VIEWS["events"]


class JournalReader:
    """Reads events over short-lived connections; never writes, never checkpoints, never verifies the chain.

    What lies after `until` is not looked at, so that the good part of a damaged journal can be saved.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._position = 0

    @classmethod
    def open(cls, state_directory: Path) -> Self:
        """A reader of the journal in this directory.

        Raises:
            NotFound: there is none.
            EnvironmentLacks: this user may not read it.
            JournalFromTheFuture: a newer release made it.
            JournalDamaged: SQLite cannot read it at all.
        """
        reader = cls(state_directory)
        reader.head()
        return reader

    def head(self) -> Head:
        """The last event's number and hash; number 0 for an empty journal."""
        rows = self._rows("SELECT seq, hash FROM event ORDER BY seq DESC LIMIT 1", ())
        return Head(*rows[0]) if rows else GENESIS

    def events(
        self,
        after: int = 0,
        until: int | None = None,
        run: int | None = None,
        types: Collection[str] | None = None,
        since: float | None = None,
        limit: int | None = None,
        newest: int | None = None,
    ) -> Iterator[Recorded]:
        """Yields the records of events in order.

        Args:
            after: only those with a greater `seq`.
            until: only those up to and with this `seq`.
            run: only those of this run.
            types: only those of these types, by their stored names such as `run_submitted`.
            since: only those written at or after this time, in seconds since the epoch.
            limit: the first so many of them.
            newest: the last so many of them; with `limit`, the first of those.

        Raises:
            JournalDamaged, JournalFromTheFuture: at the event that cannot be read.
        """
        conditions, parameters = _conditions(until=until, run=run, types=types, since=since)
        if newest is not None:
            after = max(after, self._before_the_newest(newest, after, conditions, parameters))
        left = limit
        while left is None or left > 0:
            batch = _ROWS_AT_ONCE if left is None else min(_ROWS_AT_ONCE, left)
            rows = self._rows(
                f"SELECT seq, body FROM ({_EVENTS}) WHERE seq > ?{conditions} ORDER BY seq LIMIT ?",  # noqa: S608 - constants only
                (after, *parameters, batch),
            )
            for seq, body in rows:
                yield _decoded(seq, body)
                after = seq
            if len(rows) < batch:
                return
            left = None if left is None else left - len(rows)

    def poll(self, run: int | None = None, types: Collection[str] | None = None) -> list[Recorded]:
        """The events since the last poll; all of them at first. Does not wait."""
        head = self.head()
        if head.seq <= self._position:
            return []
        found = list(self.events(after=self._position, until=head.seq, run=run, types=types))
        self._position = head.seq
        return found

    def _before_the_newest(
        self, newest: int, after: int, conditions: str, parameters: tuple[int | float | str, ...]
    ) -> int:
        """The `seq` after which exactly the `newest` matching events follow."""
        rows = self._rows(
            f"SELECT seq FROM ({_EVENTS}) WHERE seq > ?{conditions} ORDER BY seq DESC LIMIT ?",  # noqa: S608 - constants only
            (after, *parameters, newest),
        )
        return int(rows[-1][0]) - 1 if rows else self.head().seq

    def _rows(self, sql: str, parameters: tuple[int | float | str, ...]) -> list[tuple[int, bytes]]:
        """The result of one query on one state of the journal."""
        while True:
            try:
                with ReadPlan(self._directory) as plan, closing(plan.connect()) as connection:
                    rows: list[tuple[int, bytes]] = []
                    if schema.exists(connection):
                        schema.refuse_newer(connection)
                        rows = connection.execute(sql, parameters).fetchall()
                    if plan.settled():
                        return rows
            except UNREADABLE as error:
                raise explain(error) from error


def _decoded(seq: int, body: object) -> Recorded:
    if not isinstance(body, bytes):  # a damaged page gives NULL where the schema allows none
        raise JournalDamaged(f"event {seq} has no text", first_bad_seq=seq, hint=DAMAGE_HINT)
    try:
        return decode(body)
    except JournalDamaged as error:
        raise JournalDamaged(
            f"event {seq} cannot be read: {error.message}", first_bad_seq=seq, hint=DAMAGE_HINT
        ) from error


def _conditions(
    *, until: int | None, run: int | None, types: Collection[str] | None, since: float | None
) -> tuple[str, tuple[int | float | str, ...]]:
    """SQL for what was asked for. `seq` comes first: what lies beyond it is never parsed, and may be damaged."""
    sql, parameters = "", list[int | float | str]()
    if until is not None:
        sql += " AND seq <= ?"
        parameters.append(until)
    if run is not None:
        sql += " AND run = ?"
        parameters.append(run)
    if types is not None:
        sql += f" AND type IN ({', '.join('?' * len(types))})"
        parameters.extend(types)
    if since is not None:
        sql += " AND time >= ?"
        parameters.append(since)
    return sql, tuple(parameters)
