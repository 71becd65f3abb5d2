"""`serviceoptd` as a process, `serviceoptctl` beside it: submit, watch, kill, go on, cancel, stop."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from patience import HANG
from serviceopt_journal import events as e
from stubs.scenario import (
    Held,
    assert_sound,
    client,
    left_over,
    of_type,
    places,
    records,
    rows,
    start,
    stub_run,
    verified,
    wait_for,
)


class Daemon:
    """One `serviceoptd`, started again after a kill."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = places(directory)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        dropped = self.directory / "runs.d"
        dropped.mkdir(exist_ok=True)
        self.process = start(
            "serviceoptd", "--config-dir", str(dropped), environment=self.environment, log=self.directory / "daemon.log"
        )
        wait_for(lambda: self.ctl("status", "--json").returncode == 0 and self.answers(), "an answer of the daemon")

    def answers(self) -> bool:
        return bool(json.loads(self.ctl("status", "--json").stdout)["daemon"])

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=HANG)

    def ctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        ended: subprocess.CompletedProcess[str] = client(*arguments, environment=self.environment, cwd=self.directory)
        return ended

    def records(self) -> list[e.Event]:
        return [record.event for record in records(self.directory / "state")]

    def has(self, kind: type[e.Event]) -> bool:
        return any(isinstance(event, kind) for event in self.records())


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    running = Daemon(tmp_path)
    running.start()
    try:
        yield running
    finally:
        running.stop()


def test_a_submitted_run_is_worked_on_to_its_recommendation(daemon: Daemon, tmp_path: Path) -> None:
    submitted = daemon.ctl("run", "-c", str(stub_run(tmp_path, confirmations=9)), "--json")
    assert submitted.returncode == 0, submitted.stderr
    wait_for(lambda: daemon.has(e.RunFinished), "the end of the run")

    best = daemon.ctl("best", "--json")
    assert best.returncode == 0, best.stderr
    recommended = json.loads(best.stdout)
    assert recommended["feasible"]
    assert recommended["deploy"]["argv"][1] == "serve"
    assert len(rows(daemon.ctl("export").stdout)) == 4
    assert_sound(records(tmp_path / "state"))
    verified(tmp_path)


def test_a_daemon_killed_in_the_middle_of_a_measurement_goes_on_when_it_is_started_again(
    daemon: Daemon, tmp_path: Path
) -> None:
    second = Held(tmp_path / "held", turn=2)
    daemon.ctl("run", "-c", str(stub_run(tmp_path, client=second.arguments, service="--stub-grandchild")))
    wait_for(lambda: daemon.has(e.MeasurementFinished), "a finished measurement")
    wait_for(second.under_way, "a measurement in flight")
    daemon.kill()
    assert left_over(records(tmp_path / "state"))

    daemon.start()

    wait_for(lambda: daemon.has(e.RunFinished), "the end of the run")
    recorded = records(tmp_path / "state")
    assert len(of_type(recorded, e.EvaluationInterrupted)) == 1
    assert len({event.evaluation for event in of_type(recorded, e.ServiceLaunching)}) == 4
    assert_sound(recorded)
    verified(tmp_path)


def test_a_stopped_daemon_ends_its_services_and_goes_on_later(daemon: Daemon, tmp_path: Path) -> None:
    first = Held(tmp_path / "held")
    daemon.ctl("run", "-c", str(stub_run(tmp_path, client=first.arguments, service="--stub-grandchild")))
    wait_for(first.under_way, "a measurement")

    assert daemon.stop() == 0

    recorded = records(tmp_path / "state")
    assert isinstance(recorded[-1].event, e.DaemonStopped)
    assert left_over(recorded) == {}
    down = json.loads(daemon.ctl("status", "--json").stdout)
    assert down["daemon"] is None
    assert down["current"]["run"] == 1

    daemon.start()
    wait_for(lambda: daemon.has(e.RunFinished), "the end of the run")
    assert_sound(records(tmp_path / "state"))


def test_a_paused_run_stops_its_service_and_a_cancelled_one_ends(daemon: Daemon, tmp_path: Path) -> None:
    daemon.ctl("run", "-c", str(stub_run(tmp_path, client="--stub-seconds 0.3", n_particles=20)))
    wait_for(lambda: daemon.has(e.MeasurementStarted), "a measurement")

    assert daemon.ctl("pause").returncode == 0
    wait_for(lambda: left_over(records(tmp_path / "state")) == {}, "the end of the service")
    paused = json.loads(daemon.ctl("status", "--json").stdout)
    assert paused["current"]["status"] == "paused"

    assert daemon.ctl("resume").returncode == 0
    count = len(of_type(records(tmp_path / "state"), e.MeasurementFinished))
    wait_for(lambda: len(of_type(records(tmp_path / "state"), e.MeasurementFinished)) > count, "more measurements")
    assert daemon.ctl("cancel").returncode == 0
    wait_for(lambda: daemon.has(e.RunFinished), "the end of the run")
    (finished,) = of_type(records(tmp_path / "state"), e.RunFinished)
    assert finished.outcome == "cancelled"
    assert left_over(records(tmp_path / "state")) == {}


def test_a_file_dropped_into_the_directory_becomes_a_run_and_a_wrong_one_is_refused(
    daemon: Daemon, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    good = stub_run(elsewhere, n_particles=1, iters=1)
    (tmp_path / "runs.d" / "wrong.toml").write_text("n_particles = 0\n")
    (tmp_path / "runs.d" / "other.toml").write_bytes("# 粒子数\n".encode("gbk"))
    good.rename(tmp_path / "runs.d" / "good.toml")

    wait_for(lambda: sum(isinstance(event, e.DropInRefused) for event in daemon.records()) == 2, "the refusals")
    wait_for(lambda: daemon.has(e.RunFinished), "the end of the run")

    refused = {Path(event.path).name: event for event in daemon.records() if isinstance(event, e.DropInRefused)}
    assert "n_particles" in refused["wrong.toml"].problems[0]
    assert "convert it: iconv -f GBK -t UTF-8" in refused["other.toml"].problems[0]
    (submitted,) = [event for event in daemon.records() if isinstance(event, e.RunSubmitted)]
    assert submitted.submitted_through == "drop-in"


def test_a_second_daemon_is_refused_and_names_the_first(daemon: Daemon, tmp_path: Path) -> None:
    second = start("serviceoptd", environment=daemon.environment, log=tmp_path / "second.log")
    assert second.wait(timeout=HANG) == 7
    assert daemon.process is not None
    assert str(daemon.process.pid) in (tmp_path / "second.log").read_text()
    assert daemon.answers()
