from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journal.test_foreign_files import bounded
from serviceoptd.io.http_probe import MOST, Answer, probe
from serviceoptd.toolkit.interface import HttpProbe


@asynccontextmanager
async def a_server(answer: bytes, *, hold: bool = False, asked: list[bytes] | None = None) -> AsyncIterator[int]:
    """Sends exactly these bytes to whoever asks; `hold` keeps the connection open after them."""
    waiting: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        if asked is not None:
            asked.append(request)
        writer.write(answer)
        if hold:
            waiting.append(writer)
        else:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        for writer in waiting:
            writer.close()
        server.close()
        await server.wait_closed()


def ask(answer: bytes, *, limit: float = 10.0, hold: bool = False, method: str = "GET") -> Answer:
    async def run() -> Answer:
        async with a_server(answer, hold=hold) as port:
            return await probe(HttpProbe("127.0.0.1", port, "/health", method), limit)

    return asyncio.run(run())


def test_an_answer_has_its_status_and_its_body() -> None:
    assert ask(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok, more") == Answer(200, "ok")
    assert ask(b"HTTP/1.0 503 Service Unavailable\r\n\r\nloading") == Answer(503, "loading")
    assert ask(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n") == Answer(204)
    assert ask(b"HTTP/1.1 200\r\n\r\n\xff") == Answer(200, "\ufffd")


def test_an_answer_is_complete_by_its_length_though_the_connection_stays_open() -> None:
    assert ask(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", hold=True) == Answer(200, "ok")
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2;x=y\r\nok\r\n0\r\n\r\n"
    assert ask(chunked, hold=True) == Answer(200, "ok")
    assert ask(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", hold=True, method="HEAD") == Answer(200)


def test_a_body_without_end_is_cut_off() -> None:
    answer = ask(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (MOST + 1))
    assert (answer.status, len(answer.body)) == (200, MOST)


HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("announced", [b"fffffffffff", b"400001"])
def test_a_chunk_without_end_is_cut_off(announced: bytes) -> None:
    with bounded(16 * MOST, seconds=60.0):
        answer = ask(HEAD + announced + b"\r\n" + b"x" * (2 * MOST))
    assert (answer.status, len(answer.body)) == (200, MOST)


def test_many_small_chunks_are_put_together_in_one_pass() -> None:
    with bounded(16 * MOST, seconds=60.0):
        answer = ask(HEAD + b"1\r\nx\r\n" * 200_000 + b"0\r\n\r\n", limit=60.0)
    assert (answer.status, len(answer.body)) == (200, 200_000)


@settings(max_examples=30)
@given(chunks=st.lists(st.binary(min_size=1, max_size=50), max_size=5))
def test_chunks_are_put_together(chunks: list[bytes]) -> None:
    sent = b"".join(f"{len(chunk):x}".encode() + b"\r\n" + chunk + b"\r\n" for chunk in chunks)
    answer = ask(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + sent + b"0\r\n\r\n", hold=True)
    assert answer == Answer(200, b"".join(chunks).decode(errors="replace"))


@settings(max_examples=30)
@given(nonsense=st.binary(max_size=60) | st.just(b"y" * 100_000))
def test_nonsense_is_an_answer_without_a_status(nonsense: bytes) -> None:
    answer = ask(nonsense + b"\r\n")
    assert answer.status is None
    assert answer.error


@pytest.mark.parametrize(
    "broken",
    [
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 300,
    ],
)
def test_a_broken_answer_tells_what_is_wrong(broken: bytes) -> None:
    answer = ask(broken)
    assert answer.status is None
    assert answer.error


def test_nobody_there_is_an_answer_too() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        answer = asyncio.run(probe(HttpProbe("127.0.0.1", port, "/"), 10))
        assert answer.status is None
        assert "refused" in answer.error or "Connect call failed" in answer.error
        assert asyncio.run(probe(HttpProbe("no such host", port, "/"), 10)).status is None


def test_a_silent_service_is_given_up_after_the_limit() -> None:
    assert ask(b"", hold=True, limit=0.05) == Answer(None, error="no answer within 0.05 s")


def test_what_is_asked_is_a_complete_request_also_for_a_service_on_every_address() -> None:
    asked: list[bytes] = []

    async def run() -> int:
        async with a_server(b"HTTP/1.1 200 OK\r\n\r\n", asked=asked) as port:
            for host in ("0.0.0.0", ""):  # noqa: S104
                await probe(HttpProbe(host, port, "/reset?x=1", "POST"), 10)
            return port

    port = asyncio.run(run())
    head = f"POST /reset?x=1 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\n".encode()
    assert [request.startswith(head) for request in asked] == [True, True]


def test_a_cancelled_request_leaves_no_connection() -> None:
    async def run() -> None:
        async with a_server(b"", hold=True) as port:
            asking = asyncio.create_task(probe(HttpProbe("127.0.0.1", port, "/"), 60))
            await asyncio.sleep(0.02)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            assert asyncio.all_tasks() - {asyncio.current_task()} == set()

    asyncio.run(run())


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_what_we_lack_ourselves_is_no_answer(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    async def lacking(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(asyncio, "open_connection", lacking)
    with pytest.raises(OSError, match=os.strerror(number)):
        asyncio.run(probe(HttpProbe("127.0.0.1", 9, "/health"), 5.0))
