"""HTTP over the daemon's unix socket."""

from __future__ import annotations

import grp
import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from serviceopt_journal.errors import DaemonUnreachable, EnvironmentLacks, ExitCode, NotFound, ServiceoptError

ANSWER_LIMIT = 30.0  # seconds for an answer; a run with a large journal is folded long before
HEARTBEAT_LIMIT = 60.0  # seconds without a byte after which a stream counts as lost (the daemon sends every 15)

Document = dict[str, Any]
Query = Mapping[str, object]


class RefusedError(ServiceoptError):
    """The daemon answered with an error; its message, hint and exit code are passed on as they are."""

    def __init__(self, message: str, *, hint: str, exit_code: ExitCode) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, limit: float) -> None:
        super().__init__("localhost", timeout=limit)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Connection:
    """Requests to one daemon; each opens and closes its own connection, so a restart of the daemon does no harm."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def answers(self) -> bool:
        """Whether somebody listens on the socket.

        Raises:
            EnvironmentLacks: the socket is there, but this user may not use it.
        """
        try:
            with closing(_UnixConnection(self.path, ANSWER_LIMIT)) as connection:
                connection.connect()
        except OSError as error:
            if isinstance(failure := _explained(error, self.path), DaemonUnreachable):
                return False
            raise failure from error
        return True

    def request(self, method: str, path: str, *, query: Query | None = None, body: Document | None = None) -> Document:
        """The JSON document of an answer.

        Raises:
            NotFound: what was asked for is not there.
        RefusedError: the daemon answered with another error.
            DaemonUnreachable: nobody listens, or the daemon ended before it had answered.
            EnvironmentLacks: this user may not use the socket.
        """
        with closing(_UnixConnection(self.path, ANSWER_LIMIT)) as connection:
            try:
                return _document(self._send(connection, method, _target(path, query), body))
            except (OSError, http.client.HTTPException) as error:
                raise _explained(error, self.path) from error

    def stream(self, path: str, *, query: Query) -> Iterator[Document]:
        """The `data` of server-sent events, until the daemon ends the stream or is lost.

        Raises:
            As `request`, before the first event only.
        """
        with closing(_UnixConnection(self.path, HEARTBEAT_LIMIT)) as connection:
            try:
                response = self._send(connection, "GET", _target(path, query), None)
                if response.status >= http.HTTPStatus.BAD_REQUEST:
                    _document(response)
            except (OSError, http.client.HTTPException) as error:
                raise _explained(error, self.path) from error
            yield from _server_sent(response)

    def _send(
        self, connection: _UnixConnection, method: str, target: str, body: Document | None
    ) -> http.client.HTTPResponse:
        content = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if content is not None else {}
        connection.request(method, target, body=content, headers=headers)
        return connection.getresponse()


def _target(path: str, query: Query | None) -> str:
    given = {key: value for key, value in (query or {}).items() if value is not None and value != ()}
    return f"{path}?{urlencode(given, doseq=True)}" if given else path


def _document(response: http.client.HTTPResponse) -> Document:
    content = response.read()
    try:
        document = json.loads(content)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise RefusedError(
            f"the answer is not from serviceoptd (status {response.status})",
            hint="is the socket another program's? SERVICEOPT_SOCKET names it",
            exit_code=ExitCode.FAILURE,
        )
    if response.status < http.HTTPStatus.BAD_REQUEST:
        return document
    error = document.get("error", {})
    message = str(error.get("message", f"the daemon answered with status {response.status}"))
    hint, code = str(error.get("hint", "")), error.get("exit_code", ExitCode.FAILURE)
    if code == ExitCode.NOT_FOUND:
        raise NotFound(message, hint=hint)
    raise RefusedError(message, hint=hint, exit_code=ExitCode(code) if code in set(ExitCode) else ExitCode.FAILURE)


def _server_sent(response: http.client.HTTPResponse) -> Iterator[Document]:
    while True:
        try:
            line = response.readline()
        except (OSError, http.client.HTTPException):
            return
        if not line.endswith(b"\n"):  # the end, or a line that was cut off by it
            return
        if line.startswith(b"data:"):
            yield json.loads(line.removeprefix(b"data:"))


def _explained(error: Exception, path: Path) -> ServiceoptError:
    if isinstance(error, PermissionError):
        owner = _group(path)
        return EnvironmentLacks(
            f"no permission to use the daemon's socket {path}"
            + (f" (it belongs to the group {owner})" if owner else ""),
            hint=f"ask to be added to the group: `usermod -aG {owner or 'serviceopt'} $USER`, then log in again",
        )
    if isinstance(error, TimeoutError):
        return DaemonUnreachable(
            f"the daemon on {path} does not answer", hint="`journalctl -u serviceoptd` may tell what it is doing"
        )
    if isinstance(error, FileNotFoundError | ConnectionRefusedError | NotADirectoryError):
        return DaemonUnreachable(
            f"no daemon answers on {path}",
            hint="`systemctl start serviceoptd` starts it; `serviceoptctl status` shows what its journal holds",
        )
    if isinstance(error, ConnectionError | http.client.HTTPException):
        return DaemonUnreachable(
            f"the daemon on {path} ended before it had answered", hint="`serviceoptctl status` shows what is known"
        )
    return EnvironmentLacks(f"the socket {path} cannot be used: {error}", hint="SERVICEOPT_SOCKET names another one")


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
