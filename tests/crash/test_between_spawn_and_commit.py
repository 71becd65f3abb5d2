"""The daemon dies between an effect and its event: what it had started is found by its launch id and ended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from patience import HANG
from serviceopt_journal import events as e
from serviceopt_journal.codec import Recorded
from stubs.scenario import assert_sound, left_over, of_type, places, records, stub_run, verified, wait_for

KILLED_DAEMON = Path(__file__).with_name("killed_daemon.py")


def die(configuration: Path, state: Path, *when: str) -> None:
    ended = subprocess.run(
        [sys.executable, KILLED_DAEMON, configuration, state, *when],
        env=places(configuration.parent), capture_output=True, text=True, timeout=HANG, check=False,
    )  # fmt: skip
    assert ended.returncode == -9, ended.stderr


def go_on(configuration: Path, state: Path) -> list[Recorded]:
    ended = subprocess.run(
        [sys.executable, KILLED_DAEMON, configuration, state, "--continue"],
        env=places(configuration.parent), capture_output=True, text=True, timeout=HANG, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return records(state)


def test_a_service_spawned_but_not_yet_in_the_journal_is_ended_with_its_grandchild(tmp_path: Path) -> None:
    configuration, state = stub_run(tmp_path, service="--stub-grandchild"), tmp_path / "state"
    die(configuration, state, "--before", "service_launched")
    announced = records(state)
    assert of_type(announced, e.ServiceLaunching)
    assert not of_type(announced, e.ServiceLaunched)
    log = Path(of_type(announced, e.ServiceLaunching)[0].log)
    wait_for(lambda: "grandchild" in log.read_text(), "the grandchild")  # the stub may only just have been started
    orphans = wait_for(lambda: len(found := left_over(announced)) == 2 and found, "the leader and the grandchild")

    finished = go_on(configuration, state)

    (interrupted,) = of_type(finished, e.EvaluationInterrupted)
    assert set(interrupted.reaped) == set(orphans)
    assert of_type(finished, e.RunFinished)
    assert_sound(finished)
    verified(tmp_path)


@pytest.mark.parametrize(
    "boundary", ["service_ready", "measurement_started", "measurement_finished", "service_stopping"]
)
def test_a_daemon_killed_beside_a_live_service_leaves_nothing(tmp_path: Path, boundary: str) -> None:
    configuration = stub_run(tmp_path, service="--stub-grandchild", client="--stub-seconds 0.3", repeats=2)
    state = tmp_path / "state"
    die(configuration, state, "--after", boundary)
    assert left_over(records(state))

    finished = go_on(configuration, state)

    # A service that was being stopped had nothing left to do: its end is recorded, and it is not started again.
    assert len(of_type(finished, e.EvaluationInterrupted)) == (boundary != "service_stopping")
    assert of_type(finished, e.RunFinished)
    assert_sound(finished)


def test_a_client_spawned_in_the_middle_of_a_measurement_is_ended_and_only_that_measurement_repeated(
    tmp_path: Path,
) -> None:
    once = tmp_path / "once"
    configuration = stub_run(tmp_path, client=f"--stub-hang --stub-when max-concurrency=8 --stub-once {once}")
    state = tmp_path / "state"
    daemon = subprocess.Popen(
        [sys.executable, KILLED_DAEMON, configuration, state],
        env=places(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for(once.exists, "the client that hangs")
    finally:
        daemon.kill()
        daemon.wait()
    assert len(left_over(records(state))) == 2  # service and client

    finished = go_on(configuration, state)

    repeated = [event for event in of_type(finished, e.MeasurementStarted) if event.attempt > 1]
    assert len(repeated) == 1
    assert of_type(finished, e.RunFinished)
    assert_sound(finished)


def test_a_process_with_another_launch_id_is_left_alone(tmp_path: Path) -> None:
    configuration, state = stub_run(tmp_path), tmp_path / "state"
    bystander = subprocess.Popen(["sleep", "60"], env={"SERVICEOPT_LAUNCH_ID": "somebody-elses"})
    try:
        die(configuration, state, "--before", "service_launched")
        go_on(configuration, state)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
