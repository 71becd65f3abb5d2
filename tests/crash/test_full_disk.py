"""The disk gets full under a running daemon: it holds, says so, and goes on by itself when there is room again."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from serviceopt_journal import events as e
from serviceopt_journal.verification import verify
from stubs.scenario import assert_sound, client, of_type, places, records, start, wait_for

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
        ended = daemon.wait(timeout=30)

    assert ended == 0

    recorded = records(small_disk)
    (written,) = of_type(recorded, e.WritingHeld)
    assert written.seconds > 0
    assert recorded[last].event == written  # the first event after the hold says how long it was
    assert of_type(recorded, e.RunFinished)[0].reason == "budget used (40 configurations)"
    assert_sound(recorded)
    assert verify(small_disk).problems == []
