"""Serving HTTP over a unix socket: who may connect is a matter of the socket's permissions, and the peer is known."""

from __future__ import annotations

import asyncio
import contextlib
import grp
import math
import os
import resource
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h11
import msgspec
import structlog
import uvicorn
from starlette.requests import Request
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from serviceopt_journal.documents.requests import Refusal, Refused
from serviceopt_journal.errors import EnvironmentLacks, ExitCode
from serviceoptd.io.log import Seldom

LOG = structlog.get_logger("serviceoptd")
GROUP = "serviceopt"
MOST_CONNECTIONS = 128
PART_OF_THE_FILES = 4
"""Connections take at most one in so many of the files that the process may have open: the rest is for the work."""
BACKLOG = 64  # connections that wait in the kernel until they are accepted
ACCEPT_AGAIN = 1.0  # seconds after a connection could not be accepted
LONGEST_REQUEST = 20.0  # seconds until a request has arrived whole
LONGEST_PATH = 107  # bytes that sun_path holds (unix(7))


class PeerProtocol(H11Protocol):
    """Notes the user id at the other end (SO_PEERCRED), which a unix socket has in place of an address.

    Where there are as many connections as the daemon takes, a new one replaces the one that has sent no request for the
    longest time; while all are being answered, it is answered with 503.
    """

    seldom: Seldom  # of the server: for how many connections that found none free

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Notes the user id at the other end."""
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        self.client = ("uid", uid)
        self._deadline: asyncio.TimerHandle | None = None
        if self._makes_room():
            self._expect_a_request()
        else:
            transport.write(too_many(most_connections()))
            transport.close()

    def on_response_complete(self) -> None:
        """The next request has as long as the first one had."""
        super().on_response_complete()
        self._expect_a_request()

    def send_400_response(self, msg: str) -> None:
        """Answers what is no HTTP, and tells whoever is at work on the request before it that its sender is gone."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:  # in the middle of an answer, into which no other one fits
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the deadline as well."""
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def _makes_room(self) -> bool:
        most = most_connections()
        if len(self.connections) <= most:
            return True
        if times := self.seldom.times("connections"):
            LOG.warning("the socket has as many connections as it takes", most=most, times=times)
        waiting = [
            each for each in self.connections if isinstance(each, PeerProtocol) and each is not self and each.idle
        ]
        if not waiting:
            return False
        longest = min(waiting, key=lambda each: each.deadline)
        self.connections.discard(longest)  # its end is told later, and the next one must not wait for that
        longest.transport.close()
        return True

    @property
    def idle(self) -> bool:
        """Whether no request has come whole that is not answered yet."""
        return self._deadline is not None and (self.cycle is None or self.cycle.response_complete)

    @property
    def deadline(self) -> float:
        """When the next request must have come, in the loop's seconds; for ever while none is expected."""
        return self._deadline.when() if self._deadline is not None else math.inf

    def _expect_a_request(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(LONGEST_REQUEST, self._end_without_one, self.cycle)

    def _end_without_one(self, before: object) -> None:
        """Ends a connection whose next request is not whole by now; a stream that is being answered goes on."""
        if self.cycle is before or self.cycle.more_body:
            self.transport.close()


def most_connections() -> int:
    """How many connections are taken, by what the process may have open now."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (
        min(MOST_CONNECTIONS, max(1, soft // PART_OF_THE_FILES)) if soft != resource.RLIM_INFINITY else MOST_CONNECTIONS
    )


def too_many(most: int) -> bytes:
    """The answer to a connection that is not taken, which has sent nothing yet: the API's document for an error."""
    refusal = Refusal(
        message=f"the daemon answers {most} connections already, as many as it takes",
        hint="end commands that follow its events (`watch`, `events -f`), or raise its limit of open files",
        exit_code=int(ExitCode.ENVIRONMENT),
    )
    document = msgspec.json.encode(Refused(error=refusal))
    head = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(document)}\r\n\r\n".encode() + document


def peer_uid(request: Request) -> int:
    """The user id of the process that sent the request."""
    return request.client.port if request.client is not None else 0


class Server(uvicorn.Server):
    """A uvicorn server that leaves the process's signals to the daemon, and accepts connections one after another.

    asyncio's own accepting, where no file descriptor is left, tells so a hundred times in each second.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._accepting: tuple[asyncio.Future[None], ...] = ()
        self._seldom = Seldom()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accepts from these sockets, which listen, until `shutdown`."""
        await super().startup(sockets=[])
        self._accepting = tuple(asyncio.ensure_future(self._accept(each)) for each in sockets or ())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accepts nothing more, and ends the connections."""
        for accepting in self._accepting:
            accepting.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        await super().shutdown(sockets=sockets)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        listener.setblocking(False)
        while True:
            connection = None
            try:
                connection, _ = await loop.sock_accept(listener)
                await loop.connect_accepted_socket(self._protocol, connection)
            except OSError as error:  # no descriptors, no memory: who connects waits in the backlog
                if connection is not None:
                    connection.close()
                self._hang_up_on_the_idle()
                if times := self._seldom.times(error.errno):
                    LOG.warning("a connection could not be accepted", reason=str(error), times=times)
                await asyncio.sleep(ACCEPT_AGAIN)

    def _hang_up_on_the_idle(self) -> None:
        """Connections that ask nothing give their descriptors back first."""
        for each in tuple(self.server_state.connections):
            if isinstance(each, PeerProtocol) and each.idle:
                each.transport.close()

    def _protocol(self) -> PeerProtocol:
        made = PeerProtocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)
        made.seldom = self._seldom
        return made

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
        listener.listen(BACKLOG)
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
        except BlockingIOError:  # more wait there than its backlog holds
            return True
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
