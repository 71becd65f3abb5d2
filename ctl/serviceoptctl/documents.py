"""What can be asked of a daemon or of a journal, and what comes back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import msgspec

if TYPE_CHECKING:
    from serviceopt_journal.documents.particles import FinishedFiles, Particles, Recommendation
    from serviceopt_journal.documents.runs import Run, Runs, Status, Table

Document = dict[str, Any]
"""A record of the journal as it came: its event may be of a type that only a newer daemon knows."""

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

    def events(self, selection: Selection) -> Iterator[Document]:
        """Yields the records, oldest first."""
