"""A real `vllm serve` on the CPU and a real `vllm bench serve`, tuned to the end through a killed daemon and engine.

Takes 15 to 30 minutes. `make test-real` runs it; docs/real-engines.md says what is needed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from real.tuning import (
    QUIET,
    Machine,
    assert_tuned,
    configuration,
    in_the_middle_of_a_measurement,
    measured_machine,
    service_of,
)
from serviceopt_journal import events as e
from serviceopt_journal.codec import Recorded
from stubs.scenario import client, free_port, left_over, of_type, places, records, rows, start, verified

pytestmark = pytest.mark.real

WHOLE_RUN = 1800.0  # seconds


@pytest.fixture(scope="session")
def machine(real_engines: Path, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    return measured_machine(real_engines, tmp_path_factory.mktemp("calibration"))


def test_it_is_tuned_standalone_through_a_killed_process_and_a_killed_engine(
    real_engines: Path, machine: Machine, tmp_path: Path
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(configuration(real_engines, tpot=machine.limit, port=free_port()))
    environment = {**places(tmp_path), **QUIET}

    def read() -> list[Recorded]:
        return records(tmp_path / "state")

    engines = ("-e", "vllm", "-b", "vllm_benchmark", "-c", str(file))
    first = start(
        "serviceoptctl", "run", "--standalone", *engines, environment=environment, log=tmp_path / "first.log",
        cwd=tmp_path,
    )  # fmt: skip
    in_the_middle_of_a_measurement(read, finished=3)
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
        measurement = in_the_middle_of_a_measurement(read, finished=done + 2)
        os.kill(service_of(read(), measurement), signal.SIGKILL)
        assert second.wait(timeout=WHOLE_RUN) == 0, (tmp_path / "second.log").read_text()
    finally:
        end(second)

    assert left_over(read()) == {}
    assert_tuned(read(), table(environment), best(environment), machine.limit)
    assert_killed_engine_is_accounted_for(read(), table(environment), measurement)
    verified(tmp_path)
    assert list((tmp_path / "result/store").glob("data_storage_*.csv"))


def table(environment: Mapping[str, str]) -> list[dict[str, str]]:
    exported = client("export", environment=environment)
    assert exported.returncode == 0, exported.stderr
    return rows(exported.stdout)


def best(environment: Mapping[str, str]) -> dict[str, object]:
    told = client("best", "--json", environment=environment)
    assert told.returncode == 0, told.stderr
    found: dict[str, object] = json.loads(told.stdout)
    return found


def assert_killed_engine_is_accounted_for(
    recorded: list[Recorded], listed: list[dict[str, str]], measurement: e.MeasurementStarted
) -> None:
    """Its row says why it has no result, or it was measured again."""
    failed = [event for event in of_type(recorded, e.ServiceFailed) if event.evaluation == measurement.evaluation]
    assert failed, "nobody noticed that the engine was killed"
    (row,) = [row for row in listed if row["particle"] == str(measurement.particle)]
    assert "service" in row["error"] or row["repeats"] == "2"


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process of ours in an orderly way, whatever state the test left it in."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=120)
