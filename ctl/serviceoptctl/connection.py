"""HTTP over the daemon's unix socket."""

from __future__ import annotations

import http.client
import os
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec

from serviceopt_journal.errors import ExitCode, InvalidConfiguration, NotFound, ServiceoptError
from serviceoptctl.daemon_socket import ANSWER_LIMIT, connected, ended_too_early, explained

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
        self._path, self._limit = path, limit

    def connect(self) -> None:
        self.sock = connected(self._path, self._limit)


class Connection:
    """Requests to one daemon; each opens and closes its own connection, so a restart of the daemon does no harm."""

    def __init__(self, path: Path) -> None:
        self.path = path

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
                raise _failure(error, self.path) from error

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
                raise _failure(error, self.path) from error
            yield from _server_sent(response)

    def _send(
        self, connection: _UnixConnection, method: str, target: str, body: Document | None
    ) -> http.client.HTTPResponse:
        try:
            content = None if body is None else msgspec.json.encode(body)
        except UnicodeEncodeError as error:
            raise InvalidConfiguration(
                f"an argument is not UTF-8 text: {os.fsencode(error.object)[:200]!r}", hint="write it in UTF-8"
            ) from error
        headers = {"Content-Type": "application/json"} if content is not None else {}
        try:
            connection.request(method, target, body=content, headers=headers)
        except (BrokenPipeError, ConnectionResetError):  # the daemon may have said why, and hung up
            with suppress(OSError, http.client.HTTPException):
                return connection.getresponse()
            raise
        return connection.getresponse()


def _target(path: str, query: Query | None) -> str:
    given = {key: value for key, value in (query or {}).items() if value is not None and value != ()}
    return f"{path}?{urlencode(given, doseq=True)}" if given else path


def _document(response: http.client.HTTPResponse) -> Document:
    content = response.read()
    try:
        document = msgspec.json.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):  # UNDECODABLE, without importing the codec
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
            yield msgspec.json.decode(line.removeprefix(b"data:"))


def _failure(error: OSError | http.client.HTTPException, path: Path) -> ServiceoptError:
    return explained(error, path) if isinstance(error, OSError) else ended_too_early(path)
