"""What can be asked of a daemon or of a journal, and what comes back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import msgspec

if TYPE_CHECKING:
    from serviceopt_journal.codec import Recorded
    from serviceopt_journal.documents.particles import FinishedFiles, Particles, Recommendation
    from serviceopt_journal.documents.runs import Run, Runs, Status, Table
    from serviceopt_journal.events import AnyEvent

LATEST = "latest"
Shown = TypeVar("Shown", bound=msgspec.Struct)


class Answer(msgspec.Struct, Generic[Shown], frozen=True):
    """One document in two forms: as types for people, and as JSON for programs."""

    told: dict[str, Any]  # as it came, with keys that only a newer daemon knows: what `--json` prints
    document: Shown  # with its type: what is shown to people

    @classmethod
    def of(cls, told: Mapping[str, Any], kind: type[Shown]) -> Answer[Shown]:
        """Reads an answer as a document of this kind.

        Raises:
            msgspec.ValidationError: it is not a document of this kind.
        """
        return cls(dict(told), msgspec.convert(told, kind))


class Record(msgspec.Struct, frozen=True):
    """One event in two forms, as an `Answer` is: as its type for people, and as JSON for programs."""

    told: dict[str, Any]  # as it came: what `--json` prints
    event: AnyEvent | None  # None: only a newer daemon knows it

    @classmethod
    def of(cls, told: dict[str, Any]) -> Record:
        """Reads a record that a daemon told; events of an older one are lifted to this release's version."""
        from serviceopt_journal.errors import JournalError
        from serviceopt_journal.events import AnyEvent
        from serviceopt_journal.upcasting import upcast

        try:
            event: AnyEvent = msgspec.convert(upcast(told["seq"], told["event"]), AnyEvent)
        except (JournalError, msgspec.ValidationError):
            return cls(told, None)
        return cls(told, event)

    @classmethod
    def stored(cls, recorded: Recorded) -> Record:
        """The form in which the daemon would have told it: not-a-number and infinity are null there."""
        return cls(msgspec.json.decode(msgspec.json.encode(recorded)), recorded.event)

    @property
    def seq(self) -> int:
        """The number of the event in the journal, from 1."""
        return int(self.told["seq"])

    @property
    def time(self) -> float:
        """Seconds since the epoch, when it was written."""
        return float(self.told["time"])

    @property
    def type(self) -> str:
        """The name of what happened, such as `service_ready`."""
        return str(self.told["event"]["type"])

    @property
    def run(self) -> int | None:
        """The run that it belongs to; None: it is the daemon's."""
        run = self.told["event"].get("run")
        return None if run is None else int(run)


class Selection(msgspec.Struct, frozen=True):
    """Which events are meant; None and empty mean no restriction."""

    after: int = 0  # seq
    until: int | None = None  # seq, included
    run: int | None = None
    types: tuple[str, ...] = ()
    since: float | None = None  # seconds since the epoch
    newest: int | None = None  # only so many, the last ones


class Source(Protocol):
    """Where documents come from: a daemon, or its journal. The documents are those of docs/api.md, wherever they come from.

    Every method that names a run takes its number, or `latest`, and raises NotFound where there is no such run.
    """

    running: bool  # whether a daemon answers

    def status(self) -> Answer[Status]: ...

    def runs(self) -> Answer[Runs]: ...

    def run(self, run: str) -> Answer[Run]:
        """A run in full, by its number or `latest`."""

    def best(self, run: str) -> Answer[Recommendation]:
        """Raises NotFound when nothing has been measured yet."""

    def finished_files(self, run: str) -> Answer[FinishedFiles]:
        """Raises NotFound where no file was edited for the recommended setting."""

    def table(self, run: str) -> Answer[Table]:
        """The rows of the result CSV."""

    def particles(self, run: str) -> Answer[Particles]:
        """Every particle of a run, and what became of it."""

    def events(self, selection: Selection) -> Iterator[Record]:
        """Yields the records, oldest first."""
