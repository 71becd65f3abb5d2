"""A real `vllm serve` on the CPU and a real `vllm bench serve`, tuned to the end through a killed daemon and engine.

`make test-real` runs it; docs/real-engines.md says what is needed, and how it is sized by the machine's speed.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from real.conftest import Sized
from real.measuring import Machine
from real.sizes import Shape
from real.tuning import (
    QUIET,
    assert_tuned,
    configuration,
    first_kill,
    in_the_middle_of_a_measurement,
    service_of,
)
from sandboxed import ROOT, STATE, UNIT, Sandbox, install, make_wheels
from serviceopt_journal import events as e
from serviceopt_journal.codec import Recorded, decode
from stubs.scenario import client, free_port, left_over, of_type, places, records, rows, start, verified

pytestmark = [pytest.mark.real, pytest.mark.timeout(7200)]

POLL = (
    2.0  # seconds between two looks at a run: each is a process in the sandbox, beside an engine that needs the cores
)
ASKED = 5  # a look that gets no answer in time is no failure of the run; so many in a row are
WHOLE_RUN = 7200.0  # seconds; limits are far from what is expected: other work may slow the machine


def test_it_is_tuned_standalone_through_a_killed_process_and_a_killed_engine(
    real_engines: Path, machine: Machine, sized: Sized, tmp_path: Path
) -> None:
    shape = sized.shape("a run tuned through kills")
    file = tmp_path / "config.toml"
    port = free_port()
    file.write_text(
        configuration(real_engines, shape, dtype=sized.dtype, model=sized.model, tpot=machine.limit, port=port)
    )
    environment = {**places(tmp_path), **QUIET}

    def read() -> list[Recorded]:
        return records(tmp_path / "state")

    engines = ("-e", "vllm", "-b", "vllm_benchmark", "-c", str(file))
    first = start(
        "serviceoptctl", "run", "--standalone", *engines, environment=environment, log=tmp_path / "first.log",
        cwd=tmp_path,
    )  # fmt: skip
    try:
        in_the_middle_of_a_measurement(read, finished=first_kill(shape), alive=lambda: first.poll() is None)
    except BaseException:
        end(first)
        raise
    first.kill()
    first.wait()
    before = read()
    assert left_over(before), "the service and the client should have outlived their daemon"

    second = start(
        "serviceoptctl", "optimizer", "-lb", *engines, "--standalone", environment=environment,
        log=tmp_path / "second.log", cwd=tmp_path,
    )  # fmt: skip
    try:
        done = len(of_type(before, e.MeasurementFinished))
        measurement = in_the_middle_of_a_measurement(
            read, finished=done + shape.repeats, alive=lambda: second.poll() is None
        )
        os.kill(service_of(read(), measurement), signal.SIGKILL)
        assert second.wait(timeout=WHOLE_RUN) == 0, (tmp_path / "second.log").read_text()
    finally:
        end(second)

    listed = rows(told("export", environment=environment))
    assert_tuned(read(), listed, json.loads(told("best", "--json", environment=environment)), machine.limit, shape)
    assert_killed_engine_is_accounted_for(read(), listed, measurement, shape)
    verified(tmp_path)
    assert list((tmp_path / "result/store").glob("data_storage_*.csv"))


def told(*arguments: str, environment: Mapping[str, str]) -> str:
    """What `serviceoptctl` prints."""
    ended = client(*arguments, environment=environment)
    assert ended.returncode == 0, ended.stderr
    return str(ended.stdout)


@pytest.fixture
def unit(real_engines: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A booted systemd with serviceopt installed, and a drop-in that shows the real engines to the unit."""
    if os.geteuid() != 0:
        pytest.skip("the unit's test needs root")
    wheels = make_wheels(tmp_path_factory.mktemp("wheels"))
    interpreter = interpreter_of(real_engines / "vllm")
    # the system's own interpreter is there already, and /usr is where serviceopt is about to be installed
    shown = [real_engines, *([] if interpreter == Path("/usr") else [interpreter])]
    sandbox = Sandbox(f"serviceopt-real-{os.getpid()}")
    binds = {ROOT: "/mnt/source", wheels: "/mnt/wheels", **{path: str(path) for path in shown}}
    options = [word for source, target in binds.items() for word in ("--bind-ro", f"{source}:{target}")]
    up = sandbox.control("up", "--no-install", *options)
    try:
        if up.returncode != 0:
            pytest.skip(f"systemd-sandbox cannot boot here: {(up.stderr or up.stdout).strip()}")
        install(sandbox)
        sandbox.must("rm", "-rf", STATE)  # what this machine itself may have there shines through
        paths = "\n".join(f"BindReadOnlyPaths={path}" for path in shown)
        sandbox.write(f"/etc/systemd/system/{UNIT}.d/real-engines.conf", f"[Service]\n{paths}\n")
        sandbox.must("systemctl", "daemon-reload")
        sandbox.must("systemctl", "start", UNIT)
        yield sandbox
    finally:
        sandbox.control("down", "--force")


def interpreter_of(environment: Path) -> Path:
    """The installation of Python that a virtual environment was made from."""
    (home,) = re.findall(r"^home = (.+)$", (environment / "pyvenv.cfg").read_text(), re.MULTILINE)
    return Path(home).parent


def test_it_is_tuned_by_the_unit_through_a_killed_daemon_and_a_killed_engine(
    real_engines: Path, machine: Machine, sized: Sized, request: pytest.FixtureRequest
) -> None:
    shape = sized.shape("the same run by the unit")
    unit: Sandbox = request.getfixturevalue("unit")  # only now: it takes a minute, and may not be needed
    unit.write(
        "/srv/config.toml",
        configuration(real_engines, shape, dtype=sized.dtype, model=sized.model, tpot=machine.limit, port=18400),
    )
    unit.must(
        "serviceoptctl", "run", "-e", "vllm", "-b", "vllm_benchmark", "-c", "/srv/config.toml",
        cwd="/srv", environment={**QUIET, "PATH": "/usr/local/bin:/usr/bin:/bin"},
    )  # fmt: skip

    def read() -> list[Recorded]:
        # Not by the files: SQLite follows the link that leads into the sandbox, and ends up outside of it.
        for _ in range(ASKED):
            asked = unit.run("serviceoptctl", "events", "--json", "-n", "100000")
            if asked.returncode == 0:
                return [decode(line.encode()) for line in asked.stdout.splitlines()]
            print(f"asked in vain: exit {asked.returncode}: {asked.stderr}")
            time.sleep(POLL)
        pytest.fail(f"{unit.log()}\nasked {ASKED} times in vain: exit {asked.returncode}: {asked.stderr}")

    def active() -> bool:
        return unit.show("ActiveState")["ActiveState"] == "active"

    in_the_middle_of_a_measurement(read, finished=first_kill(shape), alive=active)
    unit.must("systemctl", "kill", "--kill-whom=main", "-s", "KILL", UNIT)
    unit.until(
        lambda: unit.show("NRestarts", "ActiveState") == {"NRestarts": "1", "ActiveState": "active"}, "a restart"
    )
    done = len(of_type(read(), e.MeasurementFinished))
    measurement = in_the_middle_of_a_measurement(read, finished=done + shape.repeats, alive=active)
    unit.must("kill", "-KILL", str(service_of(read(), measurement)))
    unit.until(lambda: of_type(read(), e.RunFinished), "the end of the run", limit=WHOLE_RUN, poll=POLL)

    listed = rows(unit.must("serviceoptctl", "export"))
    assert_tuned(read(), listed, json.loads(unit.must("serviceoptctl", "best", "--json")), machine.limit, shape)
    assert_killed_engine_is_accounted_for(read(), listed, measurement, shape)
    assert unit.processes_with_a_launch_id() == []
    assert unit.must("find", f"/sys/fs/cgroup/system.slice/{UNIT}", "-name", "launch-*") == ""
    unit.must("serviceoptctl", "journal", "verify")
    assert unit.show("NRestarts", "ActiveState") == {"NRestarts": "1", "ActiveState": "active"}


def assert_killed_engine_is_accounted_for(
    recorded: list[Recorded], listed: list[dict[str, str]], measurement: e.MeasurementStarted, shape: Shape
) -> None:
    """Its row says why it has no result, or it was measured again."""
    failed = [event for event in of_type(recorded, e.ServiceFailed) if event.evaluation == measurement.evaluation]
    assert failed, "nobody noticed that the engine was killed"
    (row,) = [row for row in listed if row["particle"] == str(measurement.particle)]
    assert "service" in row["error"] or row["repeats"] == str(shape.repeats)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process of ours in an orderly way, whatever state the test left it in."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=120)
