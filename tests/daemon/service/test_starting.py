"""How a daemon begins."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import structlog.testing

from builders import a_finished_story, a_journal
from serviceopt_journal import store
from serviceopt_journal.anchor import Anchor
from serviceopt_journal.errors import EnvironmentLacks, ExitCode, JournalError
from serviceopt_journal.events import DaemonStarted
from serviceopt_journal.places import Places
from serviceopt_journal.reader import JournalReader
from serviceopt_journal.verification import verify
from serviceoptd import bootstrap
from serviceoptd.config.plugins import GROUPS, OURS

MODULES_AT_THE_START = """
import asyncio, sys
from pathlib import Path
from serviceopt_journal.places import Places
from serviceoptd import bootstrap
async def start():
    places = Places(Path(sys.argv[1]), Path(sys.argv[1]) / "socket")
    async with bootstrap.opened(places, standalone=False) as daemon, daemon.served(places.socket, required=True):
        print("IMPORTED", *sys.modules)
asyncio.run(start())
"""
SECTIONS_AND_LIBRARIES = {"serviceoptd.predicting.section", "numpy", "scipy", "pandas", "xgboost", "optuna"}


def test_systemd_hears_how_far_the_replay_is_and_waits_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_journal(tmp_path / "state", a_finished_story())
    monkeypatch.setattr(bootstrap, "TOLD_EVERY", 10)

    async def start() -> None:
        async with bootstrap.opened(places, standalone=True):
            pass

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        places = Places(state=tmp_path / "state", socket=tmp_path / "serviceoptd.sock")
        asyncio.run(start())
        told = [manager.recv(4096).decode() for _ in range(6)]
    assert told == [
        line
        for events in ("", ": 10 events so far", ": 20 events so far")
        for line in ("EXTEND_TIMEOUT_USEC=120000000", f"STATUS=reading the journal{events}")
    ]


def test_a_start_logs_and_records_what_it_mended(tmp_path: Path) -> None:
    a_journal(tmp_path / "state", a_finished_story())
    anchor = tmp_path / "state" / "journal.anchor"
    stored = bytearray(anchor.read_bytes())
    stored[4096] ^= 1
    anchor.write_bytes(stored)

    async def start() -> None:
        async with bootstrap.opened(Places(tmp_path / "state", tmp_path / "socket"), standalone=True):
            pass

    with structlog.testing.capture_logs() as logged:
        asyncio.run(start())
        asyncio.run(start())
    told = [line["reason"] for line in logged if line["log_level"] == "warning"]
    started = [
        r.event.repaired for r in JournalReader.open(tmp_path / "state").events() if isinstance(r.event, DaemonStarted)
    ]
    assert [len(told), *map(len, started[-2:])] == [1, 1, 0]
    assert started[-2] == tuple(told)
    assert told[0].startswith("slot 2 of the head anchor is bad")


class Failing:
    """A call of the journal that fails so many times, and then works again."""

    def __init__(self, real: object, error: BaseException, times: int) -> None:
        self._real = real
        self._error = error
        self.left = times

    def __call__(self, *arguments: object) -> object:
        if self.left > 0:
            self.left -= 1
            raise self._error
        return self._real(*arguments)  # type: ignore[operator]


async def started(directory: Path, *, standalone: bool = False) -> None:
    async with bootstrap.opened(Places(directory / "state", directory / "socket"), standalone=standalone):
        pass


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Hears what systemd would hear."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setattr(bootstrap, "RETRY_AFTER", 0.01)
        yield listening


def heard(manager: socket.socket) -> list[str]:
    told: list[str] = []
    while True:
        try:
            told.append(manager.recv(4096).decode())
        except BlockingIOError:
            return told


PASSING = [
    *(OSError(number, os.strerror(number)) for number in (
        errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE)),
    MemoryError(),
]  # fmt: skip


@pytest.mark.parametrize("error", PASSING, ids=repr)
@pytest.mark.parametrize("place", ["while it is opened", "in the first commit"])
def test_a_service_waits_until_the_disk_and_the_memory_work_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manager: socket.socket, error: BaseException, place: str
) -> None:
    a_journal(tmp_path / "state", a_finished_story())
    if place == "while it is opened":
        failing = Failing(store.read_anchor, error, 3)
        monkeypatch.setattr(store, "read_anchor", failing)
    elif isinstance(error, OSError):
        failing = Failing(Anchor.write, error, 1)
        monkeypatch.setattr(Anchor, "write", lambda *of: failing(*of))  # noqa: PLW0108 - it must bind
    else:
        pytest.skip("a commit takes no memory to speak of")
    with structlog.testing.capture_logs() as logged:
        asyncio.run(started(tmp_path))
    assert failing.left == 0
    assert [line["event"] for line in logged if line["log_level"] == "warning"] == ["waiting to start"]
    told = heard(manager)
    waiting = [at for at, line in enumerate(told) if line.startswith("STATUS=waiting to start: ")]
    assert waiting
    assert all(told[at - 1].startswith("EXTEND_TIMEOUT_USEC=") for at in waiting)
    # An event whose anchor could not be written is in the journal all the same.
    begun = [r for r in JournalReader.open(tmp_path / "state").events() if isinstance(r.event, DaemonStarted)]
    assert begun[-1].seq == JournalReader.open(tmp_path / "state").head().seq


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_the_foreground_waits_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    monkeypatch.setattr(store, "read_anchor", Failing(store.read_anchor, error, 1))
    with pytest.raises(JournalError) as told:
        asyncio.run(started(tmp_path, standalone=True))
    assert told.value.exit_code == ExitCode.ENVIRONMENT
    assert told.value.hint


def test_what_does_not_pass_by_itself_ends_a_service_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = Failing(store.read_anchor, PermissionError(errno.EACCES, "Permission denied"), 1)
    monkeypatch.setattr(store, "read_anchor", refused)
    with pytest.raises(EnvironmentLacks, match="permission denied"):
        asyncio.run(started(tmp_path))


def test_a_service_without_a_file_to_open_starts_when_there_are_some(tmp_path: Path, manager: socket.socket) -> None:
    """SQLite, the lock and the anchor meet the limit, wherever it lies; nothing stays open from one attempt to the next."""
    a_journal(tmp_path / "state", a_finished_story())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def start() -> None:
        await asyncio.sleep(0)  # the loop has its own files by now
        used = len(list(Path("/proc/self/fd").iterdir()))
        starting = asyncio.ensure_future(started(tmp_path))
        try:
            for more in range(12):
                resource.setrlimit(resource.RLIMIT_NOFILE, (used + more, hard))
                await asyncio.sleep(0.05)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await starting
        assert len(list(Path("/proc/self/fd").iterdir())) == used

    asyncio.run(start())
    assert verify(tmp_path / "state").problems == []


def test_a_start_imports_no_engine_client_strategy_or_rule_before_a_run_needs_it(tmp_path: Path) -> None:
    a_journal(tmp_path, a_finished_story())
    command = [sys.executable, "-c", MODULES_AT_THE_START, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    (told,) = (line for line in ended.stdout.splitlines() if line.startswith("IMPORTED"))
    imported = set(told.split())
    assert "serviceoptd.service.loop" in imported
    ours = {
        entry.module
        for group in GROUPS.values()
        for entry in entry_points(group=group)
        if entry.module.startswith(OURS)
    }
    assert len(ours) > 10
    assert not imported & {*ours, *SECTIONS_AND_LIBRARIES}
