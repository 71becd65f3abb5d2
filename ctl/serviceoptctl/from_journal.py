"""Answers from the journal alone, with the documents that the daemon would send: what there is to say while none runs.

The state is folded and shown by the daemon's own pure functions, so nothing here can tell another story.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from serviceopt_journal.documents.particles import FinishedFiles, Particles, Recommendation
from serviceopt_journal.documents.runs import Daemon, Run, Runs, Status, Table
from serviceopt_journal.errors import NotFound
from serviceopt_journal.reader import JournalReader
from serviceopt_journal.verification import OnEvent, verify
from serviceoptctl.documents import LATEST, Answer, Record, Selection, Shown

if TYPE_CHECKING:
    from serviceopt_journal.codec import Recorded
    from serviceoptd.domain.state import RunState, State


class FromJournal:
    """A `Source` that reads the journal and writes nothing, not even a lock."""

    running = False

    def __init__(
        self, reader: JournalReader, directory: Path, until: int | None = None, daemon: Daemon | None = None
    ) -> None:
        self.reader, self._directory, self._daemon = reader, directory, daemon
        self._until = until
        self._unverified = until is None

    @classmethod
    def open(cls, state_directory: Path, until: int | None = None, *, daemon: Daemon | None = None) -> FromJournal:
        """Gives what tells nothing of a journal before it is verified, since no daemon has done so.

        With `until` it is not verified, so that a damaged one can be salvaged.

        Args:
            state_directory: where the journal is.
            until: read up to this event only; what lies behind it is not looked at.
            daemon: one that is there and does not answer.

        Raises:
            NotFound: there is no journal.
            JournalError: it cannot be read at all, or is from a newer release.
            EnvironmentLacks: this user may not read it.
        """
        return cls(JournalReader.open(state_directory), state_directory, until, daemon)

    @cached_property
    def state(self) -> State:
        """The state after the last event of the journal, which is read once.

        Raises:
            JournalError: it is damaged, or from a newer release.
        """
        from serviceoptd.domain.evolve import fold
        from serviceoptd.domain.state import State

        state = State()

        def replayed(recorded: Recorded) -> None:
            nonlocal state
            state = fold(State() if recorded.seq == 1 else state, recorded)

        if not self._verified(replayed):
            for recorded in self.reader.events(until=self._until):
                replayed(recorded)
        return state

    def _verified(self, on_event: OnEvent | None = None) -> bool:
        """Whether this call has read and verified the whole journal; it is done once.

        Raises:
            JournalError: it is damaged, or from a newer release.
        """
        if not self._unverified:
            return False
        if error := verify(self._directory, on_event=on_event).error():
            raise error
        self._unverified = False
        return True

    def status(self) -> Answer[Status]:
        from serviceoptd.domain.documents import status_document

        return told(status_document(self.state, now=self.state.moment, daemon=self._daemon))

    def runs(self) -> Answer[Runs]:
        from serviceoptd.domain.documents import run_summary

        return told(Runs(runs=tuple(run_summary(run) for run in self.state.runs.values())))

    def run(self, run: str) -> Answer[Run]:
        from serviceoptd.domain.documents import run_document

        # The time of the last event is the present: nothing has gone on since.
        return told(run_document(self.find(run), now=self.state.moment))

    def best(self, run: str) -> Answer[Recommendation]:
        from serviceoptd.domain.documents import recommendation

        found = self.find(run)
        document = recommendation(found, self.state.runs)
        if document is None:
            raise NotFound(f"nothing has been measured in run {found.number}")
        return told(document)

    def finished_files(self, run: str) -> Answer[FinishedFiles]:
        from serviceopt_journal.artefacts import ArtefactStore
        from serviceopt_journal.finished_files import finished_files
        from serviceoptd.domain.deployment import edited_files

        return told(finished_files(edited_files(self.find(run), self.state.runs), ArtefactStore(self._directory)))

    def table(self, run: str) -> Answer[Table]:
        from serviceoptd.domain.table import table

        return told(table(self.find(run)))

    def particles(self, run: str) -> Answer[Particles]:
        from serviceoptd.domain.documents import particle_document

        found = self.find(run)
        shown = (particle_document(found, particle) for particle in found.particles.values())
        return told(Particles(particles=tuple(shown)))

    def events(self, selection: Selection) -> Iterator[Record]:
        self._verified()
        until = selection.until if self._until is None else min(self._until, selection.until or self._until)
        records = self.reader.events(
            after=selection.after,
            until=until,
            run=selection.run,
            types=selection.types or None,
            since=selection.since,
            newest=selection.newest,
        )
        return map(Record.stored, records)

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


def told(document: Shown) -> Answer[Shown]:
    """As it would have come through the socket: not-a-number and infinity are null there."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(document))
    return Answer.of(plain, type(document))
