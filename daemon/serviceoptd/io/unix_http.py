"""Serving HTTP over a unix socket: who may connect is a matter of the socket's permissions, and the peer is known."""

from __future__ import annotations

import asyncio
import contextlib
import grp
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from serviceopt_journal.errors import EnvironmentLacks

GROUP = "serviceopt"
MOST_CONNECTIONS = 128
LONGEST_REQUEST = 20.0  # seconds until a request has arrived whole
LONGEST_PATH = 107  # bytes that sun_path holds (unix(7))


class PeerProtocol(H11Protocol):
    """Notes the user id at the other end (SO_PEERCRED), which a unix socket has in place of an address."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Notes the user id at the other end."""
        super().connection_made(transport)
        self._deadline: asyncio.TimerHandle | None = None
        if len(self.connections) > MOST_CONNECTIONS:
            transport.close()
        else:
            self._expect_a_request()
        connection = transport.get_extra_info("socket")
        _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        self.client = ("uid", uid)

    def on_response_complete(self) -> None:
        """The next request has as long as the first one had."""
        super().on_response_complete()
        self._expect_a_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the deadline as well."""
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def _expect_a_request(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(LONGEST_REQUEST, self._end_without_one, self.cycle)

    def _end_without_one(self, before: object) -> None:
        """Ends a connection whose next request is not whole by now; a stream that is being answered goes on."""
        if self.cycle is before or self.cycle.more_body:
            self.transport.close()


def peer_uid(request: Request) -> int:
    """The user id of the process that sent the request."""
    return request.client.port if request.client is not None else 0


class Server(uvicorn.Server):
    """A uvicorn server that leaves the process's signals to the daemon."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves the signals as the daemon has set them."""
        yield


def listen(path: Path) -> socket.socket:
    """A listening socket at `path`, for its owner and group only (0660).

    A socket file that nobody listens on is left by a daemon that was killed, and is replaced.

    Raises:
        EnvironmentLacks: the path is too long, another daemon listens on it, or it cannot be made.
    """
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise EnvironmentLacks(
            f"the socket's path {path} has more than {LONGEST_PATH} bytes",
            hint="set SERVICEOPT_SOCKET to a shorter one",
        )
    if is_answered(path):
        raise EnvironmentLacks(
            f"another daemon listens on {path}",
            hint="stop it, or set SERVICEOPT_SOCKET to another path",
        )
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o027)  # a directory that is made here must be one that can be entered
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        path.unlink(missing_ok=True)
        os.umask(0o117)
        listener.bind(os.fspath(path))
        _give_to_group(path)
        listener.listen(64)
    except OSError as error:
        listener.close()
        raise EnvironmentLacks(
            f"the socket {path} cannot be made: {error.strerror or error}",
            hint="make its directory writable, or set SERVICEOPT_SOCKET to another path",
        ) from error
    finally:
        os.umask(before)
    return listener


def is_answered(path: Path) -> bool:
    """Whether a process accepts connections at this path."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(1.0)
        try:
            client.connect(os.fspath(path))
        except OSError:
            return False
        return True


def _give_to_group(path: Path) -> None:
    """A daemon that runs as root lets the group serviceopt in, where there is one."""
    if os.geteuid() == 0:
        with contextlib.suppress(KeyError):
            os.chown(path, -1, grp.getgrnam(GROUP).gr_gid)


def server(app: ASGIApp) -> Server:
    """A server for `app`, to be awaited as `serve(sockets=[listen(path)])`; `should_exit = True` ends it."""
    settings: dict[str, Any] = {"http": PeerProtocol, "ws": "none", "lifespan": "off", "access_log": False}
    settings["proxy_headers"] = False  # no proxy stands before the socket, and the peer's user id must be the kernel's
    return Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=2, **settings))
