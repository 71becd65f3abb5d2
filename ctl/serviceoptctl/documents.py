"""What can be asked of a daemon or of a journal, and what comes back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

Document = dict[str, Any]
LATEST = "latest"


@dataclass(frozen=True)
class Selection:
    """Which events are meant; None and empty mean no restriction."""

    after: int = 0  # seq
    until: int | None = None  # seq, included
    run: int | None = None
    types: tuple[str, ...] = ()
    since: float | None = None  # seconds since the epoch
    newest: int | None = None  # only so many, the last ones


class Source(Protocol):
    """What can be asked. The documents are those of docs/api.md, wherever they come from.

    Every method that names a run takes its number, or `latest`, and raises NotFound where there is no such run.
    """

    running: bool  # whether a daemon answers

    def status(self) -> Document: ...

    def runs(self) -> list[Document]: ...

    def run(self, run: str) -> Document: ...

    def best(self, run: str) -> Document:
        """Raises NotFound when nothing has been measured yet."""

    def table(self, run: str) -> Document:
        """`columns` and `rows` of the result CSV."""

    def particles(self, run: str) -> list[Document]: ...

    def events(self, selection: Selection) -> Iterator[Document]:
        """Records, oldest first."""
