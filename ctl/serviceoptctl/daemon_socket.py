"""The daemon's unix socket: whether somebody listens, and what its errors mean.

Apart from `connection`, whose HTTP takes longer to import than all else that `status` does without a daemon.
"""

from __future__ import annotations

import grp
import socket
import struct
import time
from pathlib import Path

from serviceopt_journal.errors import DaemonUnreachable, EnvironmentLacks, ServiceoptError

POLL = 0.05  # seconds between attempts where the backlog is full
ANSWER_LIMIT = 30.0  # seconds for an answer; a run with a large journal is folded long before


def connected(path: Path, limit: float) -> socket.socket:
    """A connection to whoever listens, on which everything may take `limit` seconds.

    Raises:
        OSError: nobody listens, or this user may not use the socket; `explained` says which.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    until = time.monotonic() + limit
    try:
        connection.settimeout(limit)
        while True:
            try:
                connection.connect(str(path))
                break
            except BlockingIOError:  # more wait there than its backlog holds (connect(2))
                if time.monotonic() >= until:
                    raise
                time.sleep(POLL)
    except BaseException:
        connection.close()
        raise
    return connection


def answers(path: Path) -> bool:
    """Whether somebody listens on the socket.

    Raises:
        EnvironmentLacks: the socket is there, but this user may not use it.
        DaemonStopped: the process that listens is stopped.
    """
    try:
        with connected(path, ANSWER_LIMIT) as connection:
            stopped = _stopped(connection)
    except OSError as error:
        if isinstance(failure := explained(error, path), DaemonUnreachable):
            return False
        raise failure from error
    if stopped:
        raise DaemonStopped(path, stopped)
    return True


class DaemonStopped(DaemonUnreachable):
    """Whoever listens was stopped as a process, by Ctrl-Z or SIGSTOP: it will not answer before it goes on."""

    def __init__(self, path: Path, pid: int) -> None:
        """`pid`: of the stopped process."""
        super().__init__(
            f"the daemon on {path} is stopped, as Ctrl-Z does: process {pid} answers nobody",
            hint=f"`fg` in its terminal, or `kill -CONT {pid}`, lets it go on",
        )
        self.pid = pid


def _stopped(connection: socket.socket) -> int:
    """The process behind a connection where it is stopped; 0 where it is not, or cannot be looked at."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, _, _ = struct.unpack("3i", credentials)
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return 0
    return int(pid) if state == "T" else 0


def explained(error: OSError, path: Path) -> ServiceoptError:
    """What an error on this socket means to a user, and what can be done."""
    if isinstance(error, PermissionError):
        owner = _group(path)
        return EnvironmentLacks(
            f"no permission to use the daemon's socket {path}"
            + (f" (it belongs to the group {owner})" if owner else ""),
            hint=f"ask to be added to the group: `usermod -aG {owner or 'serviceopt'} $USER`, then log in again",
        )
    if isinstance(error, TimeoutError | BlockingIOError):
        waiting = ": too many others wait for it" if isinstance(error, BlockingIOError) else ""
        return DaemonUnreachable(
            f"the daemon on {path} does not answer{waiting}",
            hint="`journalctl -u serviceoptd` may tell what it is doing",
        )
    if isinstance(error, FileNotFoundError | ConnectionRefusedError | NotADirectoryError):
        return DaemonUnreachable(
            f"no daemon answers on {path}",
            hint="`systemctl start serviceoptd` starts it; `serviceoptctl status` shows what its journal holds",
        )
    if isinstance(error, ConnectionError):
        return ended_too_early(path)
    return EnvironmentLacks(f"the socket {path} cannot be used: {error}", hint="SERVICEOPT_SOCKET names another one")


def ended_too_early(path: Path) -> DaemonUnreachable:
    """The daemon was there, and was gone before its answer was."""
    return DaemonUnreachable(
        f"the daemon on {path} ended before it had answered", hint="`serviceoptctl status` shows what is known"
    )


def _group(path: Path) -> str:
    """The group of the socket, or of the nearest directory around it that can be looked at."""
    for place in (path, *path.parents):
        try:
            return grp.getgrgid(place.stat().st_gid).gr_name
        except PermissionError:
            continue
        except (OSError, KeyError):
            return ""
    return ""
