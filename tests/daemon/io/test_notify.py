from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from serviceoptd.io.notify import ServiceNotifier


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    name = str(tmp_path / "notify") if request.param == "path" else f"@serviceopt-{uuid.uuid4().hex}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as received:
        received.bind("\0" + name[1:] if name.startswith("@") else name)
        received.settimeout(10)
        yield received, name


def test_systemd_is_told_how_we_are(manager: tuple[socket.socket, str]) -> None:
    received, name = manager
    notifier = ServiceNotifier({"NOTIFY_SOCKET": name})
    assert notifier.supervised
    for tell, expected in (
        (notifier.ready, b"READY=1"),
        (lambda: notifier.ready("waiting for runs"), b"READY=1\nSTATUS=waiting for runs"),
        (lambda: notifier.status("run 1:\n3 of 10\nREADY=0"), b"STATUS=run 1: 3 of 10 READY=0"),
        (
            lambda: notifier.status("no room in /srv/\x1b]0;owned\x07\u202e"),
            rb"STATUS=no room in /srv/\x1b]0;owned\x07\u202e",
        ),
        (notifier.alive, b"WATCHDOG=1"),
        (lambda: notifier.stopping("ending vLLM"), b"STOPPING=1\nSTATUS=ending vLLM"),
        (lambda: notifier.extend_timeout(2.5), b"EXTEND_TIMEOUT_USEC=2500000"),
    ):
        assert tell()
        assert received.recv(4096) == expected


def test_without_systemd_nothing_is_told(tmp_path: Path) -> None:
    for environment in ({}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "relative"}):
        notifier = ServiceNotifier(environment)
        assert not notifier.supervised
        assert not notifier.ready()
    assert not ServiceNotifier({"NOTIFY_SOCKET": str(tmp_path / "absent")}).ready()


def test_a_manager_that_does_not_read_cannot_hold_us_up(manager: tuple[socket.socket, str]) -> None:
    notifier = ServiceNotifier({"NOTIFY_SOCKET": manager[1]})
    assert not all(notifier.alive() for _ in range(10_000))


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getpid())}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "1"}, None),  # meant for another process
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_interval_is_the_one_meant_for_us(environment: dict[str, str], seconds: float | None) -> None:
    assert ServiceNotifier(environment).watchdog_interval() == seconds
