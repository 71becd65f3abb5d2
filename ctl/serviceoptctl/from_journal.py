"""The same documents from the journal alone: what there is to say while no daemon runs.

The state is folded and shown by the daemon's own pure functions, so nothing here can tell another story.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from serviceopt_journal.errors import NotFound
from serviceopt_journal.reader import JournalReader
from serviceopt_journal.verification import verify
from serviceoptctl.documents import LATEST, Document, Selection

if TYPE_CHECKING:
    from serviceoptd.domain.state import RunState, State


class FromJournal:
    """A `Source` that reads the journal and writes nothing, not even a lock."""

    running = False

    def __init__(self, reader: JournalReader, until: int | None = None) -> None:
        self.reader = reader
        self._until = until

    @classmethod
    def open(cls, state_directory: Path, until: int | None = None) -> FromJournal:
        """Verifies the journal, since no daemon has done so; but not with `until`: so a damaged one can be salvaged.

        Args:
            state_directory: where the journal is.
            until: read up to this event only; what lies behind it is not looked at.

        Raises:
            NotFound: there is no journal.
            JournalError: it is damaged, or from a newer release.
            EnvironmentLacks: this user may not read it.
        """
        reader = JournalReader.open(state_directory)
        if until is None and (error := verify(state_directory).error()) is not None:
            raise error
        return cls(reader, until)

    @cached_property
    def state(self) -> State:
        from serviceoptd.domain.evolve import fold
        from serviceoptd.domain.state import State

        state = State()
        for recorded in self.reader.events(until=self._until):
            state = fold(state, recorded)
        return state

    def status(self) -> Document:
        from serviceoptd.domain.documents import status_document

        return _plain(status_document(self.state, now=self.state.time, daemon=None))

    def runs(self) -> list[Document]:
        from serviceoptd.domain.documents import run_summary

        return [_plain(run_summary(run)) for run in self.state.runs.values()]

    def run(self, run: str) -> Document:
        from serviceoptd.domain.documents import run_document

        # The time of the last event is the present: nothing has gone on since.
        return _plain(run_document(self.find(run), now=self.state.time))

    def best(self, run: str) -> Document:
        from serviceoptd.domain.documents import recommendation

        found = self.find(run)
        document = recommendation(found)
        if document is None:
            raise NotFound(f"nothing has been measured in run {found.number}")
        return _plain(document)

    def table(self, run: str) -> Document:
        from serviceoptd.domain.table import columns, rows

        found = self.find(run)
        return _plain({"columns": columns(found), "rows": rows(found)})

    def particles(self, run: str) -> list[Document]:
        from serviceoptd.domain.documents import particle_document

        found = self.find(run)
        return [_plain(particle_document(found, particle)) for particle in found.particles.values()]

    def events(self, selection: Selection) -> Iterator[Document]:
        until = selection.until if self._until is None else min(self._until, selection.until or self._until)
        records = self.reader.events(
            after=selection.after,
            until=until,
            run=selection.run,
            types=selection.types or None,
            since=selection.since,
            newest=selection.newest,
        )
        return map(_plain, records)

    def find(self, run: str) -> RunState:
        """The folded state of a run; raises NotFound."""
        runs = self.state.runs
        number = max(runs, default=0) if run == LATEST else int(run)
        if number not in runs:
            raise NotFound(
                f"there is no run {number}" if runs else "there is no run yet",
                hint="`serviceoptctl runs` lists them" if runs else "`serviceoptctl run` starts one",
            )
        return runs[number]


def _plain(document: Any) -> Document:
    """As it would have come through the socket: not-a-number and infinity are null there."""
    plain: Document = msgspec.json.decode(msgspec.json.encode(document))
    return plain
