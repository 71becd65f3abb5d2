"""The API over its real unix socket: whatever bytes are sent, no answer of 500, no traceback, and a daemon that goes on."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import select
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from builders import Story, a_finished_story, a_journal, an_unfinished_story
from fuzz.mutations import PIECES, VALUES, changed_bytes, documents
from fuzz.promise import Broken
from serviceopt_journal.errors import ExitCode
from serviceopt_journal.places import Places
from serviceopt_journal.reader import JournalReader
from serviceoptd import bootstrap

PATIENCE = 60.0  # seconds for an answer
MOMENT = 0.2  # seconds in which most answers come
BODY: dict[str, Any] = {
    "configuration_text": "engine = 'simulated'\nbenchmark = 'simulated'\nn_particles = 2\niters = 1\n", "seed": 7,
    "environment": {"A": "1", "HF_TOKEN": "x"}, "working_directory": "/tmp", "configuration_path": "/tmp/c.toml",
    "name": "n", "reason": "r",
    "level": "info", "file": "d.csv", "content": "a,b\n1,2\n", "engine": "simulated", "benchmark": "simulated",
}  # fmt: skip
METHODS = (
    "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "CONNECT", "get", "PRI", "G" * 300, "",
    "P\0ST",
)  # fmt: skip
PATHS = (
    "status", "runs", "import", "drain", "log-level", "events", "events/stream?after=0", "runs/1", "runs/2",
    "runs/latest", "runs/1/best", "runs/1/best/files", "runs/2/rows", "runs/2/particles", "runs/2/pause",
    "runs/2/resume", "runs/2/cancel", "runs/1/reconfigure", "runs/9", "runs//", "", "../../etc/passwd",
    "%2e%2e/%2e%2e", "runs/%00", "runs/%ff", "runs/²", "runs/-1", "runs/" + "9" * 5000, "runs/1e3",
    "?" + "a=b&" * 2000, "status?" + "x" * 60_000, "status#x", "//status", "runs/1/best/files/..",
)  # fmt: skip
WELL_FORMED = (*PATHS[:15], "runs", "runs/2/reconfigure", "runs/latest/best", "runs", "import", "events", "log-level")
QUERY_NAMES = ("after", "until", "run", "type", "limit", "newest", "since", "x", "")
QUERY_VALUES = (
    "", "0", "1", "-1", "1.5", "1e400", "nan", "inf", "-inf", "0x1", "+1", " 1", "%00", "%ff", "%E2%80%AE",
    "9" * 30, "9" * 5000, "run_started", "run_startet", str(2**63), str(2**63 - 1), "true", "[]", "1_0", "%31", "²",
)  # fmt: skip
HEADERS = (
    "Content-Type: text/xml", "Content-Type: multipart/form-data; boundary=x",
    "Content-Type: application/json; charset=utf-16", "Expect: 100-continue", "Upgrade: websocket", "Upgrade: h2c",
    "Connection: close, keep-alive", "Host: a\r\nHost: b", "X-Forwarded-For: 1.2.3.4", "Forwarded: for=1",
    "Last-Event-ID: -1", "Last-Event-ID: x", "Last-Event-ID: 1", "Range: bytes=0-", "Content-Length: -1",
    "Content-Length: 9" + "9" * 30, "Content-Length: 3\r\nContent-Length: 4", "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip, chunked", "Content-Encoding: gzip", "Accept: x", "Accept-Encoding: *",
    "Cookie: " + "a=b; " * 500, "A" * 70_000 + ": x", "x: " + "y" * 70_000, ": x", "no colon", " folded", "x:\0",
    "x: \xff", "x: \x1b[2J", "Trailer: x",
)  # fmt: skip

Request = tuple[list[bytes], bool, int]
"""The parts that are sent one after the other, whether a moment passes between them, and how many requests they are."""


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """One to three requests on one connection, well formed and not; sent whole, or in pieces."""
    count = draw(st.sampled_from((1, 1, 1, 2, 3)))
    sent = b"".join(draw(_request()) for _ in range(count))
    if draw(st.integers(0, 7)) == 0:
        sent = draw(changed_bytes([sent]))
    cuts = sorted(draw(st.lists(st.integers(0, len(sent)), max_size=draw(st.sampled_from((0, 0, 1, 5))))))
    edges = [0, *cuts, len(sent)]
    return [sent[one:other] for one, other in itertools.pairwise(edges)], draw(st.booleans()), count


@st.composite
def _request(draw: st.DrawFn) -> bytes:
    strange = draw(st.integers(0, 2)) == 0
    path = draw(st.sampled_from(PATHS if strange else WELL_FORMED))
    posted = path.startswith(("import", "drain", "log-level")) or path.endswith(
        ("pause", "resume", "cancel", "reconfigure")
    )
    method = "POST" if posted or (path == "runs" and draw(st.booleans())) else "GET"
    if strange and draw(st.booleans()):
        method = draw(st.sampled_from(METHODS))
    query = draw(st.lists(st.tuples(st.sampled_from(QUERY_NAMES), st.sampled_from(QUERY_VALUES)), max_size=3))
    target = (draw(st.sampled_from(("/v1/", "/v1/", "/v2/", "", "http://x/v1/", "*"))) if strange else "/v1/") + path
    if query and "?" not in target:
        target += "?" + "&".join(f"{name}={value}" for name, value in query)
    body = draw(_body()) if method != "GET" or draw(st.integers(0, 5)) == 0 else b""
    version = draw(st.sampled_from(("HTTP/1.1",) * 3 + ("HTTP/1.0", "HTTP/2.0", "HTTP/9.9", "", "SIP/2.0")))
    version = version if strange else "HTTP/1.1"
    head = [f"{method} {target} {version}", "Host: x"]
    head += draw(st.lists(st.sampled_from(HEADERS), max_size=3)) if strange or draw(st.integers(0, 3)) == 0 else []
    if strange and draw(st.booleans()):
        head.append("Transfer-Encoding: chunked")
        body = _chunked(draw, body)
    else:
        head.append(f"Content-Length: {len(body) + draw(st.sampled_from((0, 0, -1, 1, 100) if strange else (0,)))}")
    return "\r\n".join(head).encode(errors="surrogateescape") + b"\r\n\r\n" + body


@st.composite
def _body(draw: st.DrawFn) -> bytes:
    names = draw(st.lists(st.sampled_from(list(BODY)), max_size=4, unique=True))
    document = {name: BODY[name] for name in names}
    for name in names:
        if draw(st.integers(0, 2)) == 0:
            document[name] = draw(st.sampled_from(VALUES) | st.sampled_from(PIECES))
    good = json.dumps(document).encode(errors="replace")
    return draw(
        st.sampled_from((good,) * 5)
        | documents([document or {"a": 1}])
        | st.sampled_from(
            (b"", b"null", b"[]", b"[" * 10_000, b'{"a":' * 5000, b"\xff\xfe{}", b'{"name": "\\ud800"}', b"1e400")
        )
        | st.binary(max_size=60)
    )


def _chunked(draw: st.DrawFn, body: bytes) -> bytes:
    size = draw(st.sampled_from((1, 7, 1000))) if len(body) < 2000 else 100_000
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    chunks = b"".join(
        b"%x%s\r\n%s\r\n" % (len(part), draw(st.sampled_from((b"", b"", b"", b";a=b"))), part) for part in parts
    )
    end = draw(
        st.sampled_from(
            (b"0\r\n\r\n",) * 5 + (b"", b"0\r\nx: y\r\n\r\n", b"zz\r\n", b"-1\r\n", b"ffffffffffffffffff\r\n")
        )
    )
    return chunks + end


class _Complaints(logging.Handler):
    """Whatever is logged with a traceback."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info or record.levelno >= logging.ERROR or "Traceback" in record.getMessage():
            self.found.append(f"{record.name}: {record.getMessage()}: {record.exc_info and record.exc_info[1]!r}"[:500])


@contextmanager
def attacked_daemon() -> Iterator[tuple[st.SearchStrategy[Request], Callable[[Request], str]]]:
    """A daemon that listens, which knows a finished and an unfinished run and works on none."""
    complaints = _Complaints()
    logging.getLogger().addHandler(complaints)
    with tempfile.TemporaryDirectory(prefix="serviceopt-api-") as directory:
        state, path = Path(directory) / "state", Path(directory) / "s"
        a_journal(state, a_finished_story(), an_unfinished_story(Story(run=2)))
        with _serving(Places(state=state, socket=path), complaints):
            yield requests(), lambda request: _attempt(path, state, request, complaints)
    logging.getLogger().removeHandler(complaints)


@contextmanager
def _serving(places: Places, complaints: _Complaints) -> Iterator[None]:
    started, ended = threading.Event(), threading.Event()

    async def serve() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.found.append(str(context)[:500]))
        async with bootstrap.opened(places, standalone=True) as daemon, daemon.served(places.socket, required=True):
            started.set()
            await asyncio.to_thread(ended.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    if not started.wait(PATIENCE):
        raise Broken("the daemon did not start")
    try:
        yield
    finally:
        ended.set()
        thread.join(PATIENCE)


def _attempt(path: Path, state: Path, request: Request, complaints: _Complaints) -> str:
    before = JournalReader.open(state).head().seq
    parts, slowly, count = request
    answer = _sent(path, parts, slowly=slowly)
    statuses = _statuses(answer)
    again = _statuses(_sent(path, [b"GET /v1/runs/1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"]))
    if complaints.found:
        told, complaints.found = complaints.found, []
        raise Broken(f"the daemon logged {told}")
    if again != [200]:
        raise Broken(f"the daemon does not answer any more: {again}")
    if any(status >= 500 for status in statuses):
        raise Broken(f"answered {statuses}: {answer[-1500:]!r}")
    after = JournalReader.open(state).head().seq
    # whoever leaves without waiting for the answer may still have been understood
    if after != before and len(statuses) >= count and min(statuses) >= 300:
        raise Broken(f"answered {statuses}, and the journal has {after - before} more events")
    if not statuses:
        return "hung up on"
    return "taken" if max(statuses) < 400 else f"{max(statuses)}"


def _sent(path: Path, parts: list[bytes], *, slowly: bool = False) -> bytes:
    received = b""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(str(path))
        try:
            for part in parts:
                client.sendall(part)
                if slowly:
                    time.sleep(0.002)
            # the end of what is sent is that of the connection, too: an answer is waited for a moment before it
            select.select([client], [], [], MOMENT)
            client.shutdown(socket.SHUT_WR)
            while chunk := client.recv(65536):
                received += chunk
                if b"text/event-stream" in received[:2000] and len(received) > 3000:
                    break  # it has no end
        except (BrokenPipeError, ConnectionResetError):
            pass
        except TimeoutError:
            if b"text/event-stream" not in received[:2000]:
                raise Broken(f"no answer within {PATIENCE:.0f} s") from None
    return received


def _statuses(answer: bytes) -> list[int]:
    """The status of each answer on the connection; a refusal of ours must be a document with reason and exit code."""
    found = []
    while answer.startswith(b"HTTP/1.1 "):
        head, _, rest = answer.partition(b"\r\n\r\n")
        status = int(head[9:12])
        length = _length(head)
        body, answer = rest[:length], rest[length:]
        found.append(status)
        if status >= 400 and b"application/json" in head and body:
            error = json.loads(body)["error"]
            if not error["message"].strip() or error["exit_code"] not in set(ExitCode):
                raise Broken(f"a refusal that says nothing: {error}")
            if len(error["message"]) > 100_000:
                raise Broken(f"a refusal of {len(error['message'])} characters: {error['message'][:200]!r}")
    return found


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 1 << 60
