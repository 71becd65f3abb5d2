"""Documents from a running daemon, and what only it can do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from serviceopt_journal.documents.particles import FinishedFiles, Particles, Recommendation
from serviceopt_journal.documents.runs import Run, Runs, Status, Table
from serviceopt_journal.errors import ExitCode
from serviceoptctl.connection import Connection, RefusedError
from serviceoptctl.documents import Answer, Record, Selection, Shown

if TYPE_CHECKING:
    from serviceopt_journal.documents.requests import (
        Accepted,
        Changes,
        Draining,
        Import,
        ImportedResults,
        NewConfiguration,
        Submission,
    )

PAGE = 1000  # events in one answer


class Live:
    """A `Source` that asks the daemon."""

    running = True

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def status(self) -> Answer[Status]:
        return self._get("/v1/status", Status)

    def runs(self) -> Answer[Runs]:
        return self._get("/v1/runs", Runs)

    def run(self, run: str) -> Answer[Run]:
        """A run in full, by its number or `latest`."""
        return self._get(f"/v1/runs/{run}", Run)

    def best(self, run: str) -> Answer[Recommendation]:
        return self._get(f"/v1/runs/{run}/best", Recommendation)

    def finished_files(self, run: str) -> Answer[FinishedFiles]:
        return self._get(f"/v1/runs/{run}/best/files", FinishedFiles)

    def table(self, run: str) -> Answer[Table]:
        return self._get(f"/v1/runs/{run}/rows", Table)

    def particles(self, run: str) -> Answer[Particles]:
        return self._get(f"/v1/runs/{run}/particles", Particles)

    def events(self, selection: Selection) -> Iterator[Record]:
        query: dict[str, object] = {
            "until": selection.until,
            "run": selection.run,
            "type": selection.types,
            "since": selection.since,
        }
        after = selection.after
        if selection.newest is not None or selection.since is not None:
            # One answer: a page whose events are all older than `since` would be empty, and look like the end.
            yield from self._events(after=after, newest=selection.newest, **query)
            return
        while page := self._events(after=after, limit=PAGE, **query):
            yield from page
            after = page[-1].seq

    def stream(self, *, after: int, run: int | None = None, types: tuple[str, ...] = ()) -> Iterator[Record]:
        """Records as they are committed, beginning with those after `after`. Ends when the daemon is lost."""
        told = self.connection.stream("/v1/events/stream", query={"after": after, "run": run, "type": types})
        return map(Record.of, told)

    def submit(self, submission: Submission) -> Answer[Accepted]:
        """A new run: its number, whether it continues an earlier one, and warnings."""
        from serviceopt_journal.documents.requests import Accepted

        return self._post("/v1/runs", submission, Accepted)

    def import_results(self, wanted: Import) -> Answer[ImportedResults]:
        """A run that holds a file's results: its number, what was found, and warnings."""
        from serviceopt_journal.documents.requests import ImportedResults

        return self._post("/v1/import", wanted, ImportedResults)

    def act(self, run: int, verb: str, reason: str) -> Answer[Run]:
        """`pause`, `resume` or `cancel`; how the run stands then."""
        from serviceopt_journal.documents.requests import Reason

        return self._post(f"/v1/runs/{run}/{verb}", Reason(reason=reason), Run)

    def reconfigure(self, run: int, configuration: NewConfiguration) -> Answer[Changes]:
        """Changes what may change while a run is under way; the changes that were made."""
        from serviceopt_journal.documents.requests import Changes

        return self._post(f"/v1/runs/{run}/reconfigure", configuration, Changes)

    def drain(self) -> Answer[Draining]:
        """Finish what is measured, then start nothing more."""
        from serviceopt_journal.documents.requests import Draining

        return self._post("/v1/drain", None, Draining)

    def _get(self, path: str, kind: type[Shown]) -> Answer[Shown]:
        return _read(self.connection.request("GET", path), path, kind)

    def _post(self, path: str, body: msgspec.Struct | None, kind: type[Shown]) -> Answer[Shown]:
        sent = msgspec.to_builtins(body) if body is not None else {}
        return _read(self.connection.request("POST", path, body=sent), path, kind)

    def _events(self, **query: Any) -> list[Record]:
        return [Record.of(told) for told in self.connection.request("GET", "/v1/events", query=query)["events"]]


def _read(told: dict[str, Any], path: str, kind: type[Shown]) -> Answer[Shown]:
    try:
        return Answer.of(told, kind)
    except msgspec.ValidationError as error:
        raise RefusedError(
            f"the answer to {path} does not match `serviceoptctl docs api`: {error}",
            hint="`serviceoptctl status` and `serviceoptctl --version` show whether daemon and client have one release",
            exit_code=ExitCode.FAILURE,
        ) from error
