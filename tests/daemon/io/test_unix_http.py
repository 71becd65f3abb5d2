from __future__ import annotations

import os
import socket
import stat
from contextlib import ExitStack
from pathlib import Path
from threading import Timer

import pytest

from serviceopt_journal.errors import DaemonUnreachable, EnvironmentLacks
from serviceoptctl.daemon_socket import connected, explained
from serviceoptd.io.unix_http import BACKLOG, is_answered, listen


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_the_socket_is_for_its_owner_and_group_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "made" / "here" / "serviceoptd.sock"
    before = os.umask(umask)
    try:
        with listen(path):
            assert mode(path) == 0o660
            assert {mode(directory) for directory in (path.parent, path.parent.parent)} == {0o750}
        assert os.umask(umask) == umask
    finally:
        os.umask(before)


def test_a_socket_that_a_killed_daemon_left_is_replaced_and_one_that_answers_is_not(tmp_path: Path) -> None:
    path = tmp_path / "serviceoptd.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    assert path.exists()
    assert not is_answered(path)
    with listen(path):
        assert is_answered(path)
        with pytest.raises(EnvironmentLacks, match="another daemon listens"):
            listen(path)


def test_a_path_that_no_socket_can_have_is_told(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentLacks, match="more than"):
        listen(tmp_path / ("x" * 108))


def test_a_full_backlog_is_somebody_who_listens(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with ExitStack() as opened:
        opened.enter_context(listen(path))
        for _ in range(BACKLOG + 1):
            waiting = opened.enter_context(socket.socket(socket.AF_UNIX))
            waiting.setblocking(False)
            waiting.connect(str(path))
        assert is_answered(path)
        with pytest.raises(EnvironmentLacks, match="another daemon listens"):
            listen(path)
        with pytest.raises(BlockingIOError) as full:
            connected(path, 0.2)
        told = explained(full.value, path)
        assert isinstance(told, DaemonUnreachable)
        assert "too many others wait" in told.message


def test_who_waits_for_a_full_backlog_is_taken_when_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with ExitStack() as opened:
        listener = opened.enter_context(listen(path))
        for _ in range(BACKLOG + 1):
            waiting = opened.enter_context(socket.socket(socket.AF_UNIX))
            waiting.setblocking(False)
            waiting.connect(str(path))
        later = Timer(0.2, listener.accept)
        later.start()
        opened.callback(later.join)
        opened.enter_context(connected(path, 60.0))
