"""Whatever is sent over the socket, the answer is a reason and never a traceback; nobody can occupy the daemon."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import Story, a_finished_story, a_journal, an_unfinished_story
from serviceopt_journal.errors import ExitCode
from serviceopt_journal.places import Places
from serviceoptctl.connection import Connection, RefusedError
from serviceoptd import bootstrap
from serviceoptd.io import unix_http
from serviceoptd.service import daemon

HUGE = "9" * 5000


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The socket of a daemon that knows a finished and an unfinished run."""
    directory = tmp_path_factory.mktemp("api")
    a_journal(directory / "state", a_finished_story(), an_unfinished_story(Story(run=2)))
    places = Places(state=directory / "state", socket=directory / "s")
    started, ended = threading.Event(), threading.Event()

    async def serve() -> None:
        async with bootstrap.opened(places, standalone=True) as daemon, daemon.served(places.socket, required=True):
            started.set()
            await asyncio.to_thread(ended.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert started.wait(60)
    yield places.socket
    ended.set()
    thread.join()


def sent(path: Path, request: bytes, *, wait: float = 60.0) -> bytes:
    """Everything that is answered until the other end closes."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(wait)
        client.connect(str(path))
        received = b""
        try:
            client.sendall(request)
            while chunk := client.recv(65536):
                received += chunk
        except (BrokenPipeError, ConnectionResetError):
            pass
        return received


def answered(path: Path, method: str, target: str, body: bytes = b"", headers: str = "") -> tuple[int, Any]:
    """Status and document."""
    head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    head, _, document = sent(path, head.encode() + body).partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(document)


@pytest.mark.parametrize(
    ("method", "target", "body", "reason"),
    [
        ("GET", "/v1/events?since=yesterday", {}, "is not a time"),
        ("GET", "/v1/events?since=nan", {}, "is not a time"),
        ("GET", f"/v1/events?after={HUGE}", {}, "is not a number"),
        ("GET", f"/v1/events?run={2**63}", {}, "is not a number"),
        ("GET", "/v1/events?limit=-1", {}, "is not a number"),
        ("GET", "/v1/events?type=run_startet", {}, "not a type of event"),
        ("GET", "/v1/events/stream?type=run_startet", {}, "not a type of event"),
        ("POST", "/v1/runs", {"name": "x" * 201}, "name: 201 characters"),
        ("POST", "/v1/runs", {"seed": 2**63}, "seed: "),
        ("POST", "/v1/runs", {"seed": -1}, "seed: "),
        ("POST", "/v1/runs", {"working_directory": "/\0"}, "zero byte"),
        ("POST", "/v1/runs", {"working_directory": "here"}, "not absolute"),
        ("POST", "/v1/runs", {"configuration_path": "\0"}, "zero byte"),
        ("POST", "/v1/runs", {"environment": {"A=B": "1"}}, "environment"),
        ("POST", "/v1/runs", {"environment": {"A": "\0"}}, "environment"),
        ("POST", "/v1/runs", {"configuration_text": "x = " + "[" * 9000}, "nested too deeply"),
        ("POST", "/v1/runs/2/pause", {"reason": "x" * 2001}, "reason: 2001 characters"),
        ("POST", "/v1/log-level", {"level": "loud"}, "log level 'LOUD'"),
        ("POST", "/v1/runs/2/pause", {"reason": "x" * (9 << 20)}, "larger than 8 MiB"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_with_a_reason(
    path: Path, method: str, target: str, body: dict[str, Any], reason: str
) -> None:
    status, document = answered(path, method, target, json.dumps(body).encode())
    assert (status, reason in document["error"]["message"]) == (400, True), document


@pytest.mark.parametrize("run", [HUGE, "-1", "1e3", "%00", "%ff", "²"])
def test_a_run_that_cannot_be_is_not_found(path: Path, run: str) -> None:
    assert answered(path, "GET", f"/v1/runs/{run}".encode("ascii", "ignore").decode() + "x")[0] == 404


NAMES = ("name", "seed", "environment", "working_directory", "configuration_text", "configuration_path", "engine",
         "benchmark", "reason", "level", "file", "content", "pd", "deploy_policy")  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.sampled_from(["\0", "\ud800", "/", "latest", "a" * 5000, "engine = 'simulated'", 'x = """', "token=" * 99]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
BODIES = (
    st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4).map(lambda body: json.dumps(body).encode())
    | st.binary(max_size=40)
    | st.sampled_from([b"[" * 10_000, b'{"a":' * 5_000])
)
PATHS = st.sampled_from(
    ["runs", "import", "runs/2/pause", "runs/1/cancel", "runs/2/reconfigure", "runs/latest/resume", "log-level", "status",
     "runs/2", "runs/1/best", "runs/9/rows", "events", "runs//", "runs/2/particles", "runs/2/nothing"]
)  # fmt: skip
QUERIES = st.lists(
    st.tuples(
        st.sampled_from(["after", "until", "run", "type", "limit", "newest", "since"]),
        st.sampled_from(["", "-1", "0", "1", "1e400", "nan", "%00", "%ff", "9" * 30, "run_started", "x"]),
    ),
    max_size=3,
).map(lambda pairs: "&".join(f"{name}={value}" for name, value in pairs))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["GET", "POST", "PUT"]), PATHS, QUERIES, BODIES)
def test_no_request_is_answered_with_a_traceback(path: Path, method: str, target: str, query: str, body: bytes) -> None:
    status, document = answered(path, method, f"/v1/{target}?{query}", body)
    assert status < 500, document
    assert isinstance(document, dict)


def test_a_proxy_header_does_not_make_a_peer_somebody_else(path: Path) -> None:
    body = json.dumps({"configuration_text": "engine = 'simulated'\nbenchmark = 'simulated'"}).encode()
    status, accepted = answered(path, "POST", "/v1/runs", body, "X-Forwarded-For: 10.0.0.1\r\n")
    assert status == 201
    events = answered(path, "GET", f"/v1/events?run={accepted['run']}&type=run_submitted")[1]["events"]

    assert [event["event"]["submitter_uid"] for event in events] == [os.getuid()]


@pytest.mark.parametrize(
    "begun", [b"", b"GET /v1/st", b"POST /v1/runs HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"], ids=len
)
def test_who_sends_nothing_or_half_a_request_is_hung_up_on(
    path: Path, begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix_http, "LONGEST_REQUEST", 0.2)
    sent(path, begun)  # returns only when the daemon has closed the connection


@pytest.mark.parametrize(
    "begun",
    [
        b"POST /v1/runs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\nzz\r\n",
        b"POST /v1/runs/2/pause HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{}",
        b"GET /v1/events/stream?after=0 HTTP/1.1\r\nHost: x\r\n\r\n\0\r\n\r\n",
    ],
    ids=["a chunk that is none", "a body that is cut off", "no request after one that is being answered"],
)
def test_a_peer_that_breaks_off_leaves_no_traceback(path: Path, begun: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(str(path))
        client.sendall(begun)
        client.shutdown(socket.SHUT_WR)
        while client.recv(65536):
            pass
    assert answered(path, "GET", "/v1/runs/1")[0] == 200
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []


def test_who_asks_nothing_gives_his_connection_to_the_next_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unix_http, "MOST_CONNECTIONS", 3)
    with ExitStack() as opened:
        clients = [opened.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(10)]
        for client in clients:
            client.settimeout(60)
            client.connect(str(path))
        assert [client.recv(1) for client in clients[:7]] == [b""] * 7
        for client in clients[7:]:
            client.sendall(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(12) == b"HTTP/1.1 200"


def test_while_all_connections_are_answered_the_next_one_is_told_so(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix_http, "MOST_CONNECTIONS", 2)
    with ExitStack() as opened:
        followers = [opened.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(2)]
        for follower in followers:
            follower.settimeout(60)
            follower.connect(str(path))
            follower.sendall(b"GET /v1/events/stream HTTP/1.1\r\nHost: x\r\n\r\n")
            assert follower.recv(12) == b"HTTP/1.1 200"
        with pytest.raises(RefusedError, match="answers 2 connections already") as told:
            Connection(path).request("GET", "/v1/status")
        assert told.value.exit_code == ExitCode.ENVIRONMENT
        assert "watch" in told.value.hint


@pytest.mark.parametrize(("soft", "most"), [(64, 16), (3, 1), (1024, 128), (resource.RLIM_INFINITY, 128)])
def test_connections_take_a_quarter_of_the_open_files(monkeypatch: pytest.MonkeyPatch, soft: int, most: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, soft))
    assert unix_http.most_connections() == most


@pytest.mark.parametrize("target", ["events", "events/stream?after=0"])
def test_what_cannot_be_read_for_want_of_descriptors_is_answered_in_order(
    path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], target: str
) -> None:
    def lacking(_: Path) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(daemon.JournalReader, "open", lacking)
    answer = sent(path, f"GET /v1/{target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert b"Too many open files" in answer
    assert answer.startswith(b"HTTP/1.1 200" if "stream" in target else b"HTTP/1.1 503")
    assert "Traceback" not in capfd.readouterr().err
