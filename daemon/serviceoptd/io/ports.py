"""Whether a port is free for a service, and who holds it if not."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass

import psutil

from serviceopt_journal.errors import EnvironmentLacks


@dataclass(frozen=True)
class PortHolder:
    """The process that listens on a port. Both None: a process of another user, that we are not told of."""

    pid: int | None
    name: str | None


class PortTaken(EnvironmentLacks):
    """Another process listens where the service should."""

    def __init__(self, host: str, port: int, holder: PortHolder) -> None:
        who = "another process" if holder.pid is None else f"process {holder.pid} ({holder.name or 'name unknown'})"
        super().__init__(
            f"port {port} on {host or 'every address'} is taken by {who}",
            hint="stop it, or set another `port` in the engine's section; `serviceoptctl doctor` shows all of them",
        )
        self.holder = holder


def holder(host: str, port: int) -> PortHolder | None:
    """Who keeps a service from listening on this TCP port; None when it is free, or the address is not ours."""
    try:
        addresses = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        return None
    if all(_can_listen(family, address) for family, _, _, _, address in addresses):
        return None
    return _listener(port)


def ensure_free(host: str, port: int) -> None:
    """Returns when a service could listen there.

    Raises:
        PortTaken: it could not; the message names the holder where we may know it.
    """
    if (found := holder(host, port)) is not None:
        raise PortTaken(host, port, found)


def _can_listen(family: int, address: tuple[object, ...]) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as tried:
            # As servers do: connections of an earlier service that linger in TIME_WAIT are no obstacle.
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                tried.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            tried.bind(address)
            tried.listen(1)
    except OSError as error:
        return error.errno != errno.EADDRINUSE
    return True


def _listener(port: int) -> PortHolder:
    try:
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return PortHolder(connection.pid, _name(connection.pid))
    except (psutil.Error, OSError):
        pass  # not permitted: the bind has told that it is taken, and that is what counts
    return PortHolder(None, None)


def _name(pid: int) -> str | None:
    try:
        return str(psutil.Process(pid).name())
    except psutil.Error:
        return None
