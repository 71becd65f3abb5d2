"""A start on a full or failing disk: the service waits, says so, begins when there is room, and loses nothing."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from builders import a_finished_story, a_journal
from crash.preloading import preloaded
from crash.test_full_disk import KILLED_WRITER, TESTS, fill, small_disk
from patience import HANG
from serviceopt_journal import events as e
from serviceopt_journal.errors import ExitCode
from serviceopt_journal.verification import verify
from stubs.scenario import client, of_type, places, records, start, wait_for

__all__ = ["small_disk"]  # a fixture

STARTS = Path(__file__).with_name("starts_on_failing_disk.py")
STANDALONE = 'engine = "simulated"\nbenchmark = "simulated"\nn_particles = 1\niters = 1\n'


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """Hears what systemd would hear."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(1.0)
        yield listening


def heard_until(manager: socket.socket, beginning: str, *, of: subprocess.Popen[bytes]) -> list[str]:
    """What was told up to the first message with a line that begins like this."""
    told: list[str] = []
    deadline = time.monotonic() + HANG
    while not told or not any(line.startswith(beginning) for line in told[-1].splitlines()):
        assert of.poll() is None, f"the daemon ended with {of.returncode} after {told}"
        assert time.monotonic() < deadline, f"only {told}"
        with contextlib.suppress(TimeoutError):
            told.append(manager.recv(65536).decode())
    return told


def a_killed_writer(state: Path) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_WRITER, state], env={**os.environ, "PYTHONPATH": str(TESTS)}, check=False
    )
    assert killed.returncode == -signal.SIGKILL


@pytest.mark.parametrize("journal", ["none yet", "of a killed daemon", "ended in order"])
def test_a_service_that_starts_on_a_full_disk_waits_for_room(
    small_disk: Path, tmp_path: Path, manager: socket.socket, journal: str
) -> None:
    """TMPDIR is full as well, so that the log of a killed writer must be read without a copy."""
    if journal == "of a killed daemon":
        a_killed_writer(small_disk)
    elif journal == "ended in order":
        a_journal(small_disk, a_finished_story())
    before = [record.event for record in records(small_disk)]
    (small_disk / "tmp").mkdir()
    fill(small_disk / "ballast")
    environment = {**places(tmp_path), "NOTIFY_SOCKET": str(tmp_path / "notify"), "TMPDIR": str(small_disk / "tmp")}
    daemon = start("serviceoptd", "--config-dir", str(tmp_path), environment=environment, log=tmp_path / "daemon.log")
    try:
        for _ in range(3):
            told = heard_until(manager, "STATUS=waiting to start: ", of=daemon)
            assert any(line.startswith("EXTEND_TIMEOUT_USEC=") for line in told)
            assert not any(line.startswith("READY=1") for line in told)
        assert "no room" in told[-1]
        assert daemon.poll() is None

        (small_disk / "ballast").unlink()
        heard_until(manager, "READY=1", of=daemon)
    finally:
        daemon.terminate()
        ended = daemon.wait(timeout=HANG)
    assert ended == 0
    recorded = records(small_disk)
    assert [record.event for record in recorded[: len(before)]] == before
    assert len(of_type(recorded[len(before) :], e.DaemonStarted)) == 1
    assert verify(small_disk).problems == []
    log = (tmp_path / "daemon.log").read_text()
    assert log.count("waiting to start") == 1, "it is logged once, however long it lasts"
    assert "Traceback" not in log


def test_a_disk_that_is_mounted_read_only_is_waited_for(
    small_disk: Path, tmp_path: Path, manager: socket.socket
) -> None:
    """As the kernel leaves a file system after an error, until somebody has looked."""
    a_killed_writer(small_disk)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    environment = {**places(tmp_path), "NOTIFY_SOCKET": str(tmp_path / "notify")}
    daemon = start("serviceoptd", "--config-dir", str(tmp_path), environment=environment, log=tmp_path / "daemon.log")
    try:
        assert "read-only file system" in heard_until(manager, "STATUS=waiting to start: ", of=daemon)[-1]
        subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
        heard_until(manager, "READY=1", of=daemon)
    finally:
        daemon.terminate()
        ended = daemon.wait(timeout=HANG)
    assert ended == 0
    assert verify(small_disk).problems == []


def test_a_full_disk_ends_the_foreground_at_once_with_its_exit_code(small_disk: Path, tmp_path: Path) -> None:
    a_killed_writer(small_disk)
    fill(small_disk / "ballast")
    before = records(small_disk)
    (tmp_path / "config.toml").write_text(STANDALONE)
    ended = client("run", "--standalone", "-c", str(tmp_path / "config.toml"), environment=places(tmp_path))
    assert ended.returncode == ExitCode.ENVIRONMENT, ended.stdout + ended.stderr
    assert "no room on the disk" in ended.stderr
    assert "make room" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert records(small_disk) == before
    (small_disk / "ballast").unlink()
    again = client("run", "--standalone", "-c", str(tmp_path / "config.toml"), environment=places(tmp_path))
    assert again.returncode in (ExitCode.OK, ExitCode.INFEASIBLE), again.stdout + again.stderr
    wait_for(lambda: of_type(records(small_disk), e.RunFinished), "the end of the run")


def test_a_start_whose_disk_fails_once_at_any_durable_call_begins_all_the_same() -> None:
    """A third of the calls, for each kind of failure another; all of them: `make chaos`."""
    ended = preloaded(STARTS, "--every", "3")
    if ended is None:
        pytest.skip("there is no C compiler here")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    counts = json.loads(ended.stdout.splitlines()[-1])
    assert counts["started"] == sum(counts.values()) > 60
