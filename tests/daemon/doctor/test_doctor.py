"""What `doctor` finds on a machine that is good, and on one that is not."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from builders import a_journal, an_unfinished_story
from serviceopt_journal.events import ServiceLaunching
from serviceopt_journal.places import Places
from serviceopt_journal.reader import JournalReader
from serviceoptd.config.load import load_text
from serviceoptd.doctor.doctor import Surroundings, examine, needed
from serviceoptd.doctor.finding import Finding
from stubs.mindie_home import a_mindie

CONFIGURATION = """
engine = "vllm"
[vllm]
program = "{program}"
[vllm.command]
port = {port}
model = "{model}"
served_model_name = "served"
[vllm_benchmark]
program = "{program}"
[vllm_benchmark.command]
port = {port}
model = "{model}"
served_model_name = "served"
dataset_name = "random"
num_prompts = 1000
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "vllm"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def findings(tmp_path: Path, program: Path, **values: object) -> dict[str, Finding]:
    """What is found, by name, with a state directory of its own."""
    usual = {"program": program, "port": free_port(), "model": "org/model"}
    loaded = load_text(CONFIGURATION.format(**{**usual, **values}), environment={})
    places = Places(tmp_path / "state", tmp_path / "state" / "serviceoptd.sock")
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    return {found.name: found for found in examine(loaded, Surroundings(places, environment, tmp_path))}


def failed(found: dict[str, Finding]) -> set[str]:
    return {name for name, finding in found.items() if finding.level == "fail"}


def test_a_machine_that_has_everything_passes_and_nothing_is_made(tmp_path: Path, program: Path) -> None:
    found = findings(tmp_path, program)
    assert failed(found) == set()
    assert found["service program"].message == str(program)
    assert not (tmp_path / "state").exists()


def test_a_taken_port_names_its_holder(tmp_path: Path, program: Path, listener: socket.socket) -> None:
    found = findings(tmp_path, program, port=listener.getsockname()[1])
    assert failed(found) == {"port"}
    assert f"process {os.getpid()}" in found["port"].message
    assert found["port"].hint


def test_an_absent_program_fails_with_what_to_do(tmp_path: Path) -> None:
    found = findings(tmp_path, tmp_path / "absent")
    assert {"service program", "client program"} <= failed(found)
    assert all(finding.hint for finding in found.values() if finding.level == "fail")


def test_an_absent_model_directory_fails(tmp_path: Path, program: Path) -> None:
    found = findings(tmp_path, program, model="/no/such/model")
    assert any("/no/such/model" in finding.message for finding in found.values() if finding.level == "fail")


def test_placeholders_fail_and_what_rests_on_them_is_left_out(tmp_path: Path, program: Path) -> None:
    found = findings(tmp_path, program, port='"port"')
    assert failed(found) == {"configuration"}
    assert "port" not in found


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_state_directory_that_may_not_be_written_fails(tmp_path: Path, program: Path) -> None:
    tmp_path.chmod(0o555)
    assert "state directory" in failed(findings(tmp_path, program))


def test_a_socket_path_that_is_too_long_fails(tmp_path: Path, program: Path) -> None:
    loaded = load_text(CONFIGURATION.format(program=program, port=free_port(), model="m"), environment={})
    places = Places(tmp_path / "state", tmp_path / ("s" * 120))
    names = [each.name for each in examine(loaded, Surroundings(places, {}, tmp_path)) if each.level == "fail"]
    assert "socket path" in names


def test_a_running_daemon_is_seen(tmp_path: Path, program: Path) -> None:
    (tmp_path / "state").mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as daemon:
        daemon.bind(str(tmp_path / "state" / "serviceoptd.sock"))
        daemon.listen()
        assert "answers on" in findings(tmp_path, program)["daemon"].message


def test_what_a_killed_daemon_left_is_warned_of_and_what_others_run_is_not(tmp_path: Path, program: Path) -> None:
    a_journal(tmp_path / "state", an_unfinished_story())
    events = [record.event for record in JournalReader.open(tmp_path / "state").events()]
    (announced,) = [event for event in events if isinstance(event, ServiceLaunching)][-1:]
    command = [sys.executable, "-S", "-c", "print(flush=True); import time; time.sleep(60)"]
    found = {}
    for launch_id in (announced.launch_id, "of-another-daemon"):
        environment = {**os.environ, "SERVICEOPT_LAUNCH_ID": launch_id}
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as left:
            assert left.stdout is not None
            left.stdout.readline()  # it has been executed: /proc shows its own environment
            found[launch_id] = (left.pid, findings(tmp_path, program)["leftover processes"])
            left.kill()
    pid, told = found[announced.launch_id]
    assert told.level == "warn"
    assert str(pid) in told.message
    assert found["of-another-daemon"][1].level == "ok"


def test_devices_are_those_that_the_driver_tells(tmp_path: Path, program: Path) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho '0, GPU-1, 1024'\n")
    tool.chmod(0o755)
    found = findings(tmp_path, program)["devices"]
    assert found.level == "ok"
    assert found.message == "nvidia:0 (1.0 GiB in use)"


def test_a_file_that_launches_change_and_the_model_that_it_names_are_needed(tmp_path: Path) -> None:
    configuration = a_mindie(tmp_path / "mindie-service")
    client = '[vllm_benchmark.command]\nport = 1025\nmodel = "m"\nserved_model_name = "m"\ndataset_name = "random"'
    loaded = load_text(f'engine = "mindie"\nbenchmark = "vllm_benchmark"\n{client}', environment={})
    places = Places(state=tmp_path / "state", socket=tmp_path / "s")
    environment = {"PATH": "/usr/bin:/bin", "MIES_INSTALL_PATH": str(tmp_path / "mindie-service")}
    found = needed(loaded, Surroundings(places, environment, tmp_path))
    assert found.write == (str(configuration.parent),)
    assert str(tmp_path / "model") in found.read
