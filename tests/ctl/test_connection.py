"""HTTP over a unix socket, and what can be wrong with it."""

from __future__ import annotations

import grp
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from builders import a_journal
from other_users import for_everybody
from serviceopt_journal.errors import DaemonUnreachable, EnvironmentLacks, ExitCode, ServiceoptError
from serviceoptctl.connection import Connection
from serviceoptctl.daemon_socket import answers

Invoke = Callable[..., Result]
NOBODY = 65534


def answering_with(path: Path, content: bytes) -> threading.Thread:
    """A server that takes one request and sends these bytes."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, listener:
            connection.recv(65536)
            connection.sendall(content)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", ExitCode.UNREACHABLE),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", ExitCode.UNREACHABLE),
        (b"hello\r\n\r\n", ExitCode.UNREACHABLE),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", ExitCode.FAILURE),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{\"\xff\"", ExitCode.FAILURE),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n" + b"[" * 20000, ExitCode.FAILURE),
        (b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\n{}", ExitCode.FAILURE),
        (b"HTTP/1.1 400 No\r\nContent-Length: 28\r\n\r\n" + b'{"error": {"exit_code": 77}}', ExitCode.FAILURE),
    ],
)  # fmt: skip
def test_an_answer_that_is_none_is_an_error_and_never_a_traceback(
    tmp_path: Path, content: bytes, code: ExitCode
) -> None:
    thread = answering_with(tmp_path / "s", content)
    with pytest.raises(ServiceoptError) as raised:
        Connection(tmp_path / "s").request("GET", "/v1/status")
    thread.join()
    assert raised.value.exit_code == code


def test_nobody_listening_is_no_answer(tmp_path: Path) -> None:
    assert not answers(tmp_path / "absent")
    (tmp_path / "file").touch()
    assert not answers(tmp_path / "file")
    assert not answers(tmp_path / "file" / "below")
    with pytest.raises(DaemonUnreachable, match="no daemon answers on"):
        Connection(tmp_path / "absent").request("GET", "/v1/status")


def test_a_path_that_is_too_long_for_a_socket_names_the_variable(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentLacks) as raised:
        answers(tmp_path / ("x" * 120))
    assert "SERVICEOPT_SOCKET" in raised.value.hint


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody who may not use the socket")
@pytest.mark.parametrize("closed", ["socket", "directory"])
def test_a_socket_without_permission_names_the_socket_and_the_group(daemon: Callable[..., Any], closed: str) -> None:
    import tempfile

    answering = daemon()
    with tempfile.TemporaryDirectory(dir="/tmp") as open_to_all:
        shared = Path(open_to_all)
        shared.chmod(0o755)
        place = shared / "run"
        place.mkdir()
        (answering.directory / "serviceoptd.sock").rename(place / "s")
        os.chown(place / "s", 0, 0)
        (place / "s").chmod(0o660)
        place.chmod(0o755 if closed == "socket" else 0o750)
        environment = {
            **os.environ,
            "SERVICEOPT_SOCKET": str(place / "s"),
            "SERVICEOPT_STATE_DIR": str(shared / "state"),
        }
        for_everybody(sys.executable)
        ended = subprocess.run(
            [sys.executable, "-c", "from serviceoptctl.program import cli; cli.main(['status'])"],
            env=environment, user=NOBODY, group=NOBODY, extra_groups=[], cwd="/",
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    group = grp.getgrgid(0).gr_name
    assert ended.returncode == 4, ended.stderr
    assert f"no permission to use the daemon's socket {place}/s (it belongs to the group {group})" in ended.stderr
    assert f"usermod -aG {group}" in ended.stderr


def test_a_user_without_a_daemon_of_their_own_talks_to_the_machines(
    invoke: Invoke, daemon: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from serviceopt_journal.places import Places

    answering = daemon()
    monkeypatch.delenv("SERVICEOPT_STATE_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    own = Places(tmp_path / "own", tmp_path / "runtime" / "s")
    monkeypatch.setattr("serviceoptctl.source.places", lambda: own)
    monkeypatch.setattr("serviceoptctl.source.SYSTEM_STATE", answering.directory)
    monkeypatch.setattr("serviceoptctl.source.SYSTEM_SOCKET", answering.directory / "serviceoptd.sock")
    assert "running, version" in invoke("status").stdout
    answering.stop()
    assert "not running (read from the journal)" in invoke("status").stdout
    assert "1 (overnight)" in invoke("status").stdout
    a_journal(own.state)
    (answering.directory / "journal.db").unlink()
    assert "1 (overnight)" in invoke("status").stdout
