"""The HTTP API over the unix socket (docs/api.md): JSON documents, server-sent events, and a few commands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from serviceopt_journal.codec import Recorded
from serviceopt_journal.documents.particles import Particles
from serviceopt_journal.documents.records import Records
from serviceopt_journal.documents.requests import (
    Changes,
    Draining,
    Import,
    LogLevel,
    NewConfiguration,
    Refusal,
    Refused,
    Submission,
)
from serviceopt_journal.documents.runs import Runs
from serviceopt_journal.errors import EnvironmentLacks, ExitCode, JournalUnreadable, NotFound, ServiceoptError
from serviceopt_journal.events import LogLevelChanged
from serviceopt_journal.finished_files import finished_files
from serviceoptd.domain import documents, table
from serviceoptd.domain.deployment import edited_files
from serviceoptd.domain.state import RunState, State
from serviceoptd.evaluating.surroundings.lacks import heals
from serviceoptd.io.unix_http import peer_uid
from serviceoptd.service import control
from serviceoptd.service.requests import (
    LARGEST_IMPORT,
    body,
    known_types,
    number,
    reason,
    refuse_beyond_limits,
    seconds,
)
from serviceoptd.submitting.importing.importing import import_results, prepare_import
from serviceoptd.submitting.machine_checks import must_answer
from serviceoptd.submitting.preparing import prepare
from serviceoptd.submitting.submission import submit

HEARTBEAT = 10.0  # seconds between comments on a silent event stream, so that a dead client is noticed
MOST_WAITING = 1000
"""Events that wait for a follower which does not read; its stream then ends, and it asks again from its last event."""
STATUS_BY_CODE = {
    ExitCode.NOT_FOUND: 404,
    ExitCode.CONFLICT: 409,
    ExitCode.CONFIGURATION: 400,
    ExitCode.ENVIRONMENT: 400,
    ExitCode.USAGE: 400,
}


def make_app(daemon: Any) -> Starlette:
    """The application; `daemon` is serviceoptd.service.daemon.Daemon."""
    api = Api(daemon)
    routes = [
        Route("/v1/status", api.status),
        Route("/v1/runs", api.runs),
        Route("/v1/runs", api.submit, methods=["POST"]),
        Route("/v1/import", api.import_results, methods=["POST"]),
        Route("/v1/runs/{run}", api.run),
        Route("/v1/runs/{run}/best", api.best),
        Route("/v1/runs/{run}/best/files", api.finished_files),
        Route("/v1/runs/{run}/rows", api.rows),
        Route("/v1/runs/{run}/particles", api.particles),
        Route("/v1/runs/{run}/{command:str}", api.command, methods=["POST"]),
        Route("/v1/drain", api.drain, methods=["POST"]),
        Route("/v1/log-level", api.log_level, methods=["POST"]),
        Route("/v1/events", api.events),
        Route("/v1/events/stream", api.stream),
    ]
    handlers = {ServiceoptError: _refusal, OSError: _failing, MemoryError: _failing, 404: _unknown, 405: _unknown}
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False
    return app


class Api:
    """The answers of the API: one method for each route."""

    def __init__(self, daemon: Any) -> None:
        self._daemon = daemon

    @property
    def _state(self) -> State:
        state: State = self._daemon.ledger.state
        return state

    def _run(self, request: Request) -> RunState:
        return control.find_run(self._state, request.path_params["run"])

    async def status(self, request: Request) -> Response:
        return _json(self._daemon.status())

    async def runs(self, request: Request) -> Response:
        return _json(Runs(runs=tuple(documents.run_summary(run) for run in self._state.runs.values())))

    async def run(self, request: Request) -> Response:
        """Answers with a run in full."""
        return _json(documents.run_document(self._run(request), now=self._daemon.now))

    async def best(self, request: Request) -> Response:
        run = self._run(request)
        found = documents.recommendation(run, self._state.runs)
        if found is None:
            raise NotFound(f"run {run.number} has measured nothing yet", hint="`serviceoptctl watch` shows progress")
        return _json(found)

    async def finished_files(self, request: Request) -> Response:
        return _json(finished_files(edited_files(self._run(request), self._state.runs), self._daemon.context.artefacts))

    async def rows(self, request: Request) -> Response:
        """Answers with the rows of the results."""
        return _json(table.table(self._run(request)))

    async def particles(self, request: Request) -> Response:
        """Answers with every particle of a run."""
        run = self._run(request)
        return _json(Particles(particles=tuple(documents.particle_document(run, p) for p in run.particles.values())))

    async def submit(self, request: Request) -> Response:
        submission = await body(request, Submission)
        refuse_beyond_limits(submission)
        prepared = await asyncio.to_thread(
            prepare,
            submission,
            self._daemon.context,
            tool_prefix=self._daemon.context.tool_prefix,
            port_is_ours=self._daemon.loop.busy,
            originals=self._daemon.context.originals(),
        )
        await must_answer(prepared)
        accepted = await submit(self._daemon.context, prepared, uid=peer_uid(request), through="socket")
        return _json(accepted, status=201)

    async def import_results(self, request: Request) -> Response:
        wanted = await body(request, Import, largest=LARGEST_IMPORT)
        refuse_beyond_limits(wanted)
        prepared = await asyncio.to_thread(prepare_import, wanted)
        return _json(await import_results(self._daemon.context, prepared, uid=peer_uid(request)), status=201)

    async def command(self, request: Request) -> Response:
        """Pauses, resumes, cancels or reconfigures a run."""
        run = self._run(request)
        ledger = self._daemon.ledger
        match request.path_params["command"]:
            case "pause":
                await control.pause(ledger, run, await reason(request))
            case "resume":
                await control.resume(ledger, run, await reason(request))
            case "cancel":
                await control.cancel(ledger, run, await reason(request))
            case "reconfigure":
                new = await body(request, NewConfiguration)
                refuse_beyond_limits(new)
                source = new.configuration_path or "the new configuration"
                changed = await control.reconfigure(ledger, run, new.configuration_text, source, environment={})
                return _json(Changes(changes=changed))
            case unknown:
                raise NotFound(f"unknown command {unknown}", hint="pause, resume, cancel or reconfigure")
        return _json(documents.run_document(self._state.runs[run.number], now=self._daemon.now))

    async def drain(self, request: Request) -> Response:
        self._daemon.loop.drain()
        return _json(Draining())

    async def log_level(self, request: Request) -> Response:
        """Changes the daemon's log level."""
        wanted = await body(request, LogLevel)
        refuse_beyond_limits(wanted)
        level = wanted.level.upper()
        self._daemon.set_log_level(level)
        await self._daemon.ledger.commit(LogLevelChanged(level=level))
        return _json(LogLevel(level=level))

    async def events(self, request: Request) -> Response:
        query = request.query_params
        found = self._daemon.records(
            after=number(query.get("after"), 0) or 0,
            until=number(query.get("until"), None),
            run=number(query.get("run"), None),
            types=known_types(query.getlist("type")) or None,
            limit=number(query.get("limit"), None),
            newest=number(query.get("newest"), None),
            since=seconds(query.get("since")),
        )
        return _json(Records(events=tuple(found)))

    async def stream(self, request: Request) -> Response:
        query = request.query_params
        run, types = number(query.get("run"), None), set(known_types(query.getlist("type")))

        def wanted(record: Recorded) -> bool:
            of_run = run is None or getattr(record.event, "run", None) == run
            return of_run and (not types or record.event.__struct_config__.tag in types)

        after = number(request.headers.get("last-event-id") or query.get("after"), self._state.seq)
        lines = self._follow(after if after is not None else 0, wanted)
        return StreamingResponse(lines, media_type="text/event-stream", headers={"cache-control": "no-store"})

    async def _follow(self, after: int, wanted: Callable[[Recorded], bool]) -> AsyncIterator[bytes]:
        """Records after `after`, first from the journal, then as they are committed; none twice, none left out."""
        live: asyncio.Queue[Recorded] = asyncio.Queue()
        fell_behind = False

        def heard(record: Recorded, _state: State) -> None:
            nonlocal fell_behind
            fell_behind = fell_behind or live.qsize() >= MOST_WAITING
            if not fell_behind:
                live.put_nowait(record)

        unlisten = self._daemon.ledger.listen(heard)
        try:
            yield b": serviceoptd\n\n"
            try:
                for record in self._daemon.records(after=after):
                    after = record.seq
                    if wanted(record):
                        yield _sse(record)
            except (ServiceoptError, OSError) as error:  # too late for another status
                yield f": the journal cannot be read now ({' '.join(str(error).split())})\n\n".encode()
                return
            while not self._daemon.ending:
                if fell_behind and live.empty():
                    yield b": too far behind; ask again from the last event\n\n"
                    return
                try:
                    record = await asyncio.wait_for(live.get(), HEARTBEAT)
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                if record.seq > after and wanted(record):
                    yield _sse(record)
        finally:
            unlisten()


def _sse(record: Recorded) -> bytes:
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (
        record.seq,
        str(record.event.__struct_config__.tag).encode(),
        msgspec.json.encode(record),
    )


def _json(document: msgspec.Struct, *, status: int = 200) -> Response:
    return Response(msgspec.json.encode(document), status_code=status, media_type="application/json")


async def _refusal(request: Request, error: Exception) -> Response:
    if not isinstance(error, ServiceoptError):
        raise error
    refusal = Refusal(message=str(error), hint=error.hint, exit_code=int(error.exit_code))
    unavailable = heals(error) or isinstance(error, JournalUnreadable)
    return _json(Refused(error=refusal), status=503 if unavailable else STATUS_BY_CODE.get(error.exit_code, 500))


async def _failing(request: Request, error: Exception) -> Response:
    """What fails for want of descriptors, memory or room passes; anything else is ours, and the log has it in full."""
    if heals(error):
        lacks = EnvironmentLacks(f"the daemon cannot answer now: {error}", hint="try again in a moment")
        lacks.__cause__ = error
        return await _refusal(request, lacks)
    raise error


async def _unknown(request: Request, error: Exception) -> Response:
    message = f"{request.method} {request.url.path} is not part of the API"
    refusal = Refusal(message=message, hint="`serviceoptctl docs api` lists it", exit_code=int(ExitCode.NOT_FOUND))
    return _json(Refused(error=refusal), status=getattr(error, "status_code", 404))
