"""The first request to the service: asked again until it is answered. Part of the supervisor's process: standard library."""

from __future__ import annotations

import asyncio
import contextlib

ONE_REQUEST = 30.0  # seconds; a first request may find its kernels not compiled yet
PAUSE = 0.05


async def answered(host: str, port: int, path: str, body: str) -> None:
    """Returns as soon as a POST of this JSON is answered with 200. The caller limits the wait."""
    while True:
        with contextlib.suppress(OSError, EOFError, TimeoutError, ValueError):
            async with asyncio.timeout(ONE_REQUEST):
                if await _status(host, port, path, body.encode()) == 200:
                    return
        await asyncio.sleep(PAUSE)


async def _status(host: str, port: int, path: str, body: bytes) -> int:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        named = f"[{host}]" if ":" in host else host
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {named}:{port}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        )
        writer.write(head.encode() + body)
        await writer.drain()
        version, _, rest = (await reader.readuntil(b"\n")).decode("latin-1").partition(" ")
        if not version.startswith("HTTP/1."):
            raise ValueError("not HTTP")
        status = int(rest[:3])
        await reader.read()  # to its end: a service that was left in the middle of an answer counts it as aborted
        return status
    finally:
        writer.close()
