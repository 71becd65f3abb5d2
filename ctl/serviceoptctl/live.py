"""Documents from a running daemon, and what only it can do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from serviceoptctl.connection import Connection
from serviceoptctl.documents import Document, Selection

PAGE = 1000  # events in one answer


class Live:
    """A `Source` that asks the daemon."""

    running = True

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def status(self) -> Document:
        return self._get("/v1/status")

    def runs(self) -> list[Document]:
        found: list[Document] = self._get("/v1/runs")["runs"]
        return found

    def run(self, run: str) -> Document:
        return self._get(f"/v1/runs/{run}")

    def best(self, run: str) -> Document:
        return self._get(f"/v1/runs/{run}/best")

    def table(self, run: str) -> Document:
        return self._get(f"/v1/runs/{run}/rows")

    def particles(self, run: str) -> list[Document]:
        found: list[Document] = self._get(f"/v1/runs/{run}/particles")["particles"]
        return found

    def events(self, selection: Selection) -> Iterator[Document]:
        query: dict[str, object] = {
            "until": selection.until,
            "run": selection.run,
            "type": selection.types,
            "since": selection.since,
        }
        after = selection.after
        if selection.newest is not None or selection.since is not None:
            # One answer: a page whose events are all older than `since` would be empty, and look like the end.
            yield from self._get("/v1/events", after=after, newest=selection.newest, **query)["events"]
            return
        while page := self._get("/v1/events", after=after, limit=PAGE, **query)["events"]:
            yield from page
            after = page[-1]["seq"]

    def stream(self, *, after: int, run: int | None = None, types: tuple[str, ...] = ()) -> Iterator[Document]:
        """Records as they are committed, beginning with those after `after`. Ends when the daemon is lost."""
        return self.connection.stream("/v1/events/stream", query={"after": after, "run": run, "type": types})

    def submit(self, submission: Document) -> Document:
        """A new run: its number, whether it continues an earlier one, and warnings."""
        return self.connection.request("POST", "/v1/runs", body=submission)

    def import_results(self, wanted: Document) -> Document:
        """A run that holds a file's results: its number, what was found, and warnings."""
        return self.connection.request("POST", "/v1/import", body=wanted)

    def act(self, run: int, verb: str, reason: str) -> Document:
        """`pause`, `resume` or `cancel`."""
        return self.connection.request("POST", f"/v1/runs/{run}/{verb}", body={"reason": reason})

    def reconfigure(self, run: int, configuration: Document) -> Document:
        """Changes what may change while a run is under way; the changes that were made."""
        return self.connection.request("POST", f"/v1/runs/{run}/reconfigure", body=configuration)

    def drain(self) -> Document:
        """Finish what is measured, then start nothing more."""
        return self.connection.request("POST", "/v1/drain", body={})

    def _get(self, path: str, **query: Any) -> Document:
        return self.connection.request("GET", path, query=query)
