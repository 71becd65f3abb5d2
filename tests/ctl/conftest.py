"""A daemon's place for the client's tests: a journal, and a server that answers from it over a unix socket."""

from __future__ import annotations

import json
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner, Result

from builders import a_finished_story, a_journal
from serviceopt_journal import events as e
from serviceopt_journal.errors import ServiceoptError
from serviceopt_journal.reader import JournalReader
from serviceoptctl.documents import Selection
from serviceoptctl.from_journal import FromJournal
from serviceoptctl.program import cli

Document = dict[str, Any]
Invoke = Callable[..., Result]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state directory that the client looks at; nothing is in it yet. The client stands in `tmp_path`."""
    directory = tmp_path / "state"
    monkeypatch.setenv("SERVICEOPT_STATE_DIR", str(directory))
    monkeypatch.setenv("TZ", "UTC")
    for name in ("SERVICEOPT_SOCKET", "SERVICEOPT_DEBUG", "SERVICEOPT_CONFIG", "NO_COLOR", "MODELEVALSTATE_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return directory


@pytest.fixture
def invoke() -> Invoke:
    """Runs the client in this process, as `serviceoptctl ARGUMENTS...` would."""

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(cli, list(arguments), prog_name="serviceoptctl")

    return run


class AnsweringDaemon:
    """Answers GET requests from the journal in `directory`, and everything else with what the test put in `answers`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.answers: dict[str, tuple[int, Document]] = {}  # "METHOD path" -> status and document
        self.requests: list[tuple[str, Document]] = []  # "METHOD path", body
        self.queries: list[Document] = []
        self.ending = threading.Event()
        self._server: socketserver.ThreadingMixIn | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self.ending.clear()
        daemon = self

        class Handler(_Handler):
            answering = daemon

        class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True

        server = Server(str(self.directory / "serviceoptd.sock"), Handler)
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        """As a killed daemon: connections end, the socket file stays."""
        if self._server is None or self._thread is None:
            return
        self.ending.set()
        self._server.shutdown()  # type: ignore[attr-defined]
        self._server.server_close()  # type: ignore[attr-defined]
        self._thread.join()
        self._server = None

    def restart(self) -> None:
        self.stop()
        (self.directory / "serviceoptd.sock").unlink(missing_ok=True)
        self.start()

    def wait_for(self, request: str) -> None:
        """Until a client has sent this request."""
        deadline = time.monotonic() + 20
        while request not in [known for known, _ in self.requests]:
            assert time.monotonic() < deadline, f"no client sent {request}"
            time.sleep(0.01)

    def answer(self, method: str, path: str, query: dict[str, list[str]]) -> tuple[int, Document]:
        if (known := self.answers.get(f"{method} {path}")) is not None:
            return known
        source = FromJournal.open(self.directory)
        parts = path.removeprefix("/v1/").split("/")
        try:
            match parts:
                case ["status"]:
                    return 200, source.status().told | {"daemon": {"pid": 100, "version": "0.1.0", "started": 1.0}}
                case ["runs"]:
                    return 200, source.runs().told
                case ["runs", run]:
                    return 200, source.run(run).told
                case ["runs", run, "best"]:
                    return 200, source.best(run).told
                case ["runs", run, "rows"]:
                    return 200, source.table(run).told
                case ["runs", run, "particles"]:
                    return 200, source.particles(run).told
                case ["events"]:
                    found = [record.told for record in source.events(selection(query))]
                    limit = int(query["limit"][0]) if "limit" in query else None
                    return 200, {"events": found[:limit]}
        except ServiceoptError as error:
            document = {"message": error.message, "hint": error.hint, "exit_code": int(error.exit_code)}
            return 404, {"error": document}
        return 404, {"error": {"message": f"{path} is not part of the API", "hint": "", "exit_code": 9}}

    def records(self, query: dict[str, list[str]]) -> Iterator[Document]:
        source = FromJournal(JournalReader.open(self.directory), self.directory)
        return (record.told for record in source.events(selection(query)))


def selection(query: dict[str, list[str]]) -> Selection:
    numbers = {name: int(query[name][0]) for name in ("after", "until", "run", "newest") if name in query}
    since = float(query["since"][0]) if "since" in query else None
    return Selection(**numbers, types=tuple(query.get("type", ())), since=since)


class _Handler(BaseHTTPRequestHandler):
    answering: AnsweringDaemon
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._serve({})

    def do_POST(self) -> None:
        self._serve(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _serve(self, body: Document) -> None:
        target = urlsplit(self.path)
        query = parse_qs(target.query)
        self.answering.requests.append((f"{self.command} {target.path}", body))
        self.answering.queries.append(query)
        if target.path == "/v1/events/stream":
            self._stream(query)
            return
        status, document = self.answering.answer(self.command, target.path, query)
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _stream(self, query: dict[str, list[str]]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b": hello\n\n")
        while not self.answering.ending.wait(timeout=0.02):
            for record in self.answering.records(query):
                kind, data = record["event"]["type"], json.dumps(record)
                self.wfile.write(f"id: {record['seq']}\nevent: {kind}\ndata: {data}\n\n".encode())
                query["after"] = [str(record["seq"])]
        self.close_connection = True

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *arguments: object) -> None:
        return


@pytest.fixture
def daemon(state: Path) -> Iterator[Callable[..., AnsweringDaemon]]:
    """Starts a daemon on a journal with these stories; a finished run where none is given."""
    started: list[AnsweringDaemon] = []

    def start(*stories: Iterator[e.Event]) -> AnsweringDaemon:
        a_journal(state, *(stories or (a_finished_story(),)))
        answering = AnsweringDaemon(state)
        answering.start()
        started.append(answering)
        return answering

    yield start
    for answering in started:
        answering.stop()
