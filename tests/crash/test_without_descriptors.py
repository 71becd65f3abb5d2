"""A real daemon whose file descriptors run out, and hundreds of connections that ask nothing: it comes back by itself."""

from __future__ import annotations

import json
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from patience import HANG
from serviceopt_journal import events as e
from serviceopt_journal.codec import Recorded
from serviceopt_journal.errors import ExitCode
from stubs.scenario import assert_sound, client, of_type, places, records, start, stub_run, wait_for

FILES = 96
"""Open files that the daemon of these tests may have: its connections are a quarter of them."""
PSO = '[search]\nstrategy = "pso"\n'  # whose proposals do not depend on what a launch took


@contextmanager
def a_daemon(directory: Path, files: int = FILES) -> Iterator[subprocess.Popen[bytes]]:
    """`serviceoptd` with so many descriptors; what it logs is in `daemon.log`."""
    directory.mkdir(parents=True, exist_ok=True)
    ours = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, ours[1]))
    try:
        process = start("serviceoptd", environment=places(directory), log=directory / "daemon.log", cwd=directory)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, ours)
    try:
        wait_for((directory / "s").exists, "the socket")
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(HANG) == 0, (directory / "daemon.log").read_text()


def submit(directory: Path, **options: Any) -> None:
    configuration = stub_run(directory, n_particles=2, iters=1, **options)
    configuration.write_text(configuration.read_text() + PSO)
    submitted = ctl(directory, "run", "-c", str(configuration))
    assert submitted.returncode == 0, submitted.stderr


def ctl(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    ended: subprocess.CompletedProcess[str] = client(*arguments, environment=places(directory), cwd=directory)
    return ended


def connected(directory: Path, number: int, until: ExitStack, request: bytes = b"") -> list[socket.socket]:
    """Connections that were taken, or wait to be; those for which there is no room are left out."""
    made = []
    for _ in range(number):
        connection = until.enter_context(socket.socket(socket.AF_UNIX))
        connection.setblocking(False)
        try:
            connection.connect(str(directory / "s"))
            if request:
                connection.sendall(request)
        except OSError:  # the backlog is full
            time.sleep(0.01)
            continue
        made.append(connection)
    return made


def finished(directory: Path) -> list[Recorded]:
    wait_for(lambda: of_type(records(directory / "state"), e.RunFinished), "the end of the run")
    return records(directory / "state")


def results(recorded: list[Recorded]) -> list[object]:
    return [
        (event.particle, event.metrics.generate_speed, event.metrics.completed)
        for event in of_type(recorded, e.MeasurementFinished)
    ]


def log_of(directory: Path) -> str:
    return (directory / "daemon.log").read_text()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    directory = tmp_path_factory.mktemp("undisturbed")
    with a_daemon(directory):
        submit(directory)
        return results(finished(directory))


def test_hundreds_of_idle_connections_keep_nobody_out_and_cost_no_result(
    tmp_path: Path, undisturbed: list[object]
) -> None:
    held = tmp_path / "held"
    with a_daemon(tmp_path), ExitStack() as until:
        submit(tmp_path, client=f"--stub-hold {held}")
        wait_for(lambda: of_type(records(tmp_path / "state"), e.MeasurementStarted), "a measurement")
        for _ in range(4):
            connected(tmp_path, 150, until)
            status = ctl(tmp_path, "status", "--json")
            assert status.returncode == 0, status.stdout
            assert json.loads(status.stdout)["daemon"]["pid"]
        held.touch()
        recorded = finished(tmp_path)
    assert results(recorded) == undisturbed
    assert_sound(recorded)
    log = log_of(tmp_path)
    assert "Traceback" not in log
    assert log.count("as many connections as it takes") == 1
    assert of_type(recorded, e.SurroundingsFailed) == []


def test_who_connects_while_all_connections_are_answered_is_told_so(tmp_path: Path) -> None:
    with a_daemon(tmp_path), ExitStack() as until:
        submit(tmp_path)
        finished(tmp_path)
        following = b"GET /v1/events/stream HTTP/1.1\r\nHost: x\r\n\r\n"
        streams = connected(tmp_path, FILES // 4, until, following)
        for stream in streams:
            stream.setblocking(True)
            stream.settimeout(HANG)
            assert stream.recv(12) == b"HTTP/1.1 200"
        refused = ctl(tmp_path, "status", "--json")
        error = json.loads(refused.stdout)["error"]
        assert (refused.returncode, error["exit_code"]) == (ExitCode.ENVIRONMENT, ExitCode.ENVIRONMENT)
        assert f"{FILES // 4} connections already" in error["message"]
        streams[0].close()
        wait_for(lambda: ctl(tmp_path, "status").returncode == 0, "an answer")
    assert "Traceback" not in log_of(tmp_path)


@pytest.mark.parametrize("during", [e.ServiceLaunching, e.MeasurementStarted], ids=["launching", "measuring"])
def test_a_run_whose_descriptors_are_gone_goes_on_when_there_are_some(
    tmp_path: Path, undisturbed: list[object], during: type[e.Event]
) -> None:
    held = tmp_path / "held"
    options = {"client": f"--stub-hold {held}"}
    if during is e.ServiceLaunching:
        options = {"service": f"--stub-delay 3 --stub-once {tmp_path / 'once'}"}
    with a_daemon(tmp_path) as daemon, ExitStack() as until:
        submit(tmp_path, **options)
        wait_for(lambda: of_type(records(tmp_path / "state"), during), "the step that is disturbed")
        ours, hard = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (8, hard))  # fewer than it has open
        connected(tmp_path, 200, until)
        held.touch()
        time.sleep(4)
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (ours, hard))
        status = ctl(tmp_path, "status", "--json")
        assert status.returncode == 0, status.stdout
        recorded = finished(tmp_path)
    assert results(recorded) == undisturbed
    assert of_type(recorded, e.MeasurementFailed, e.ServiceFailed) == []
    assert_sound(recorded)
    log = log_of(tmp_path)
    assert "Traceback" not in log
    assert log.count("could not be accepted") == 1
