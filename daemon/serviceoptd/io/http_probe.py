"""One small HTTP/1.1 request (RFC 9112), cancellable at any point: a request in a thread could not be taken back."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from dataclasses import dataclass
from http import HTTPStatus

from serviceoptd.io.process_table import BLIND
from serviceoptd.toolkit.interface import HttpProbe

MOST = 4 * 1024 * 1024
"""Bytes of a body that are read; the rest is left."""

CLOSED = "the connection was closed without an answer"
TLS = "the server speaks TLS, not plain HTTP"
_TLS_ALERT = b"\x15\x03"  # record type and version of a TLS alert (RFC 8446, section 5.1)

_LISTENS_EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1", "[::]": "::1"}  # noqa: S104 - to connect to


@dataclass(frozen=True)
class Answer:
    """What came back of one request. `status` None: nothing that is HTTP, and `error` says why."""

    status: int | None
    body: str = ""
    error: str = ""


async def probe(request: HttpProbe, limit: float) -> Answer:
    """Asks once, within `limit` seconds. That nothing is there, or talks nonsense, is an answer too.

    Raises:
        OSError: nothing could be asked for want of descriptors or memory, which says nothing of who is asked.
    """
    try:
        async with asyncio.timeout(limit):
            return await _ask(request)
    except TimeoutError:
        return Answer(None, error=f"no answer within {limit:g} s")
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
        if isinstance(error, OSError) and error.errno in BLIND:
            raise
        return Answer(None, error=_in_words(error))


def told(request: HttpProbe, answer: Answer) -> str:
    """The question and what came back: `GET http://127.0.0.1:8000/health: 503 Service Unavailable`."""
    if answer.status is None:
        came = answer.error
    else:
        phrase = HTTPStatus(answer.status).phrase if answer.status in set(HTTPStatus) else ""
        came = f"{answer.status} {phrase}".strip()
    return f"{request.method} http://{request.host}:{request.port}{request.path or '/'}: {came}"


async def speaks_tls(request: HttpProbe, limit: float) -> bool:
    """Whether a TLS handshake succeeds there within `limit` seconds; whose certificate it is does not matter."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is sent: only the kind of the service is asked for
    host = _LISTENS_EVERYWHERE.get(request.host, request.host)
    try:
        async with asyncio.timeout(limit):
            _, writer = await asyncio.open_connection(host, request.port, ssl=context)
    except ssl.SSLError as error:
        return "CERTIFICATE_REQUIRED" in str(error.reason)
    except (OSError, TimeoutError, EOFError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


def _in_words(error: Exception) -> str:
    match error:
        case ConnectionRefusedError():
            return "connection refused"
        case ConnectionResetError():
            return CLOSED
        case socket.gaierror():
            return f"the host is not known ({error.strerror})"
        case asyncio.IncompleteReadError(partial=partial) if partial.startswith(_TLS_ALERT):
            return TLS
        case asyncio.IncompleteReadError(partial=b""):
            return CLOSED
        case asyncio.IncompleteReadError():
            return "the answer is cut off"
        case OSError(strerror=str(text)):
            return text.lower()
    return str(error) or type(error).__name__


async def _ask(request: HttpProbe) -> Answer:
    host = _LISTENS_EVERYWHERE.get(request.host, request.host)
    reader, writer = await asyncio.open_connection(host, request.port, limit=65_536)
    try:
        named = f"[{host}]" if ":" in host else host
        head = f"{request.method} {request.path or '/'} HTTP/1.1\r\nHost: {named}:{request.port}\r\n"
        length = "" if request.method in ("GET", "HEAD") else "Content-Length: 0\r\n"
        writer.write(f"{head}{length}Accept: */*\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        status, headers = await _head(reader)
        body = b"" if request.method == "HEAD" or status in (204, 304) else await _body(reader, headers)
        return Answer(status, body.decode(errors="replace"))
    finally:
        writer.close()
        # Only the local end is waited for, so this cannot hang; a connection that broke is closed all the same.
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    while True:
        version, _, rest = (await reader.readuntil(b"\n")).decode("latin-1").strip().partition(" ")
        if not version.startswith("HTTP/1."):
            raise ValueError("the answer is not HTTP/1")
        status = int(rest[:3])
        headers: dict[str, str] = {}
        while line := (await reader.readuntil(b"\n")).decode("latin-1").strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
            if len(headers) > 200:
                raise ValueError("the answer has too many headers")
        if status >= 200:  # 1xx announce the answer proper
            return status, headers


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return await _chunks(reader)
    length = headers.get("content-length")
    wanted = MOST if length is None else min(int(length), MOST)
    return await _at_most(reader, wanted)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()  # a chunk may have one byte
    while len(body) < MOST:
        size = int((await reader.readuntil(b"\n")).split(b";")[0], 16)
        if size <= 0:
            break
        wanted = min(size, MOST - len(body))  # a server may announce whatever it likes
        body += await reader.readexactly(wanted)
        if wanted < size:
            break
        await reader.readuntil(b"\n")
    return bytes(body)


async def _at_most(reader: asyncio.StreamReader, wanted: int) -> bytes:
    body = b""
    while len(body) < wanted and (data := await reader.read(wanted - len(body))):
        body += data
    return body
