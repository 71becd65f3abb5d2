"""The disk gets full under a running daemon: it holds, says so, and goes on by itself when there is room again."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from builders import a_finished_story
from patience import HANG
from serviceopt_journal import events as e
from serviceopt_journal.reader import JournalReader
from serviceopt_journal.verification import verify
from stubs.scenario import assert_sound, client, of_type, places, records, start, stub_run, wait_for

TESTS = Path(__file__).parents[1]
RUN = """
engine = "simulated"
benchmark = "simulated"
n_particles = 10
iters = 4
seed = 5

[search]
strategy = "pso"

[proof]
measurements = 0

[simulated]
launch_seconds = 0.05
measurement_seconds = 0.05
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB."""
    mounted = tmp_path / "state"
    mounted.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    mounting = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", mounted], capture_output=True, text=True, check=False
    )
    if mounting.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounting.stderr.strip()}")
    try:
        yield mounted
    finally:
        subprocess.run(["umount", "--lazy", mounted], check=True)


def fill(ballast: Path) -> None:
    """Leaves no room at all."""
    with ballast.open("wb", buffering=0) as file:
        for size in (65536, 4096, 512):
            while True:
                try:
                    file.write(b"x" * size)
                except OSError:
                    break


def test_a_full_disk_holds_the_run_until_there_is_room(small_disk: Path, tmp_path: Path) -> None:
    configuration = tmp_path / "config.toml"
    configuration.write_text(RUN)
    environment = places(tmp_path)

    def told() -> dict[str, object]:
        answer = client("status", "--json", environment=environment)
        document: dict[str, object] = json.loads(answer.stdout) if answer.returncode == 0 else {}
        return document.get("daemon") or {}  # type: ignore[return-value]

    nothing = tmp_path / "runs.d"
    daemon = start("serviceoptd", "--config-dir", str(nothing), environment=environment, log=tmp_path / "daemon.log")
    try:
        wait_for(told, "an answer of the daemon")
        assert client("run", "-c", str(configuration), environment=environment).returncode == 0
        wait_for(lambda: len(of_type(records(small_disk), e.MeasurementFinished)) > 3, "some measurements")

        fill(small_disk / "ballast")
        held = wait_for(lambda: told().get("held"), "the hold")
        assert "room" in held or "full" in held
        last = records(small_disk)[-1].seq
        assert daemon.poll() is None

        (small_disk / "ballast").unlink()
        wait_for(lambda: of_type(records(small_disk), e.RunFinished), "the end of the run")
    finally:
        daemon.terminate()
        ended = daemon.wait(timeout=HANG)

    assert ended == 0

    recorded = records(small_disk)
    (written,) = of_type(recorded, e.WritingHeld)
    assert written.seconds > 0
    assert recorded[last].event == written  # the first event after the hold says how long it was
    assert of_type(recorded, e.RunFinished)[0].reason == "budget used (40 configurations)"
    assert_sound(recorded)
    assert verify(small_disk).problems == []


def test_a_configuration_that_is_dropped_in_while_the_disk_is_full_becomes_a_run_when_there_is_room(
    small_disk: Path, tmp_path: Path
) -> None:
    environment, dropped, log = places(tmp_path), tmp_path / "runs.d", tmp_path / "daemon.log"
    dropped.mkdir()
    daemon = start("serviceoptd", "--config-dir", str(dropped), environment=environment, log=log)
    try:
        wait_for(lambda: client("status", environment=environment).returncode == 0, "an answer of the daemon")
        fill(small_disk / "ballast")
        (dropped / "run.toml").write_text(RUN)
        wait_for(lambda: "waiting to take over a file" in log.read_text(), "the word that it waits")
        (small_disk / "ballast").unlink()
        wait_for(lambda: of_type(records(small_disk), e.RunSubmitted), "the run")
    finally:
        daemon.terminate()
        ended = daemon.wait(timeout=HANG)
    assert ended == 0
    assert of_type(records(small_disk), e.DropInRefused) == []
    assert log.read_text().count("waiting to take over a file") == 1


KILLED_WRITER = """
import os, signal, sys
from pathlib import Path
from builders import a_finished_story
from serviceopt_journal.store import Journal
journal = Journal.open(Path(sys.argv[1]))
for event in a_finished_story():
    journal.append(event)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("room_aside", [True, False])
def test_a_sound_journal_is_read_whatever_is_full_and_whatever_a_crash_left(
    small_disk: Path, tmp_path: Path, room_aside: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_WRITER, small_disk], env={**os.environ, "PYTHONPATH": str(TESTS)}, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    os.truncate(small_disk / "journal.db-shm", 0)  # as a reader leaves it that came first after the crash, and died
    fill(small_disk / "ballast")
    before = contents(small_disk)
    if not room_aside:
        monkeypatch.setattr(tempfile, "TemporaryDirectory", no_room)
        assert verify(small_disk).sound
        assert len(list(JournalReader.open(small_disk).events())) == len(list(a_finished_story()))
        assert contents(small_disk) == before
        return
    environment = places(tmp_path)
    for command in ("status", "runs", "best", "export"):
        shown = client(command, environment=environment)
        assert shown.returncode == 0, shown.stderr
    assert client("journal", "verify", environment=environment).stdout.splitlines()[0].endswith(": sound")
    assert contents(small_disk) == before


def contents(directory: Path) -> dict[str, bytes]:
    """The journal's files, without SQLite's index of the log, which holds nothing that is not in the others."""
    return {path.name: path.read_bytes() for path in directory.glob("journal*") if path.suffix != ".db-shm"}


def no_room(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_disk_that_fills_under_a_measurement_of_the_daemon_costs_no_result(small_disk: Path, tmp_path: Path) -> None:
    going_on, once, environment = tmp_path / "go-on", tmp_path / "once", places(tmp_path)
    configuration = stub_run(
        tmp_path / "run", n_particles=2, iters=1, client=f"--stub-hold {going_on} --stub-once {once}"
    )
    nothing = tmp_path / "runs.d"
    daemon = start("serviceoptd", "--config-dir", str(nothing), environment=environment, log=tmp_path / "daemon.log")
    try:
        wait_for(lambda: client("status", environment=environment).returncode == 0, "an answer of the daemon")
        assert client("run", "-c", str(configuration), environment=environment).returncode == 0
        wait_for(once.exists, "the measurement")
        fill(small_disk / "ballast")
        going_on.touch()

        def held() -> object:
            told = client("status", "--json", environment=environment)
            return told.returncode == 0 and json.loads(told.stdout)["daemon"]["held"]

        wait_for(held, "the hold")
        (small_disk / "ballast").unlink()
        wait_for(lambda: of_type(records(small_disk), e.RunFinished), "the end of the run")
    finally:
        daemon.terminate()
        ended = daemon.wait(timeout=HANG)
    assert ended == 0
    recorded = records(small_disk)
    assert of_type(recorded, e.MeasurementFailed, e.ServiceFailed) == []
    assert len(of_type(recorded, e.MeasurementFinished)) == 2
    assert [event.phase for event in of_type(recorded, e.SurroundingsFailed)] == ["measuring"]
    assert_sound(recorded)
