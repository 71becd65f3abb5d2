"""docs/examples/plugin, as its reader would use it: installed, tested with the contract suites, checked and run."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from patience import HANG
from plugins.packages import echo_configuration, installed_example, measurements, with_path
from serviceopt_journal import events as e
from stubs.scenario import assert_sound, client, free_port, of_type, places, records, rows, wait_for


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed_example(tmp_path_factory.mktemp("example"))


@pytest.fixture
def environment(site: Path, tmp_path: Path) -> dict[str, str]:
    return with_path(places(tmp_path), site)


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    return echo_configuration(tmp_path)


def test_its_own_tests_pass_on_the_exported_suites(site: Path, environment: dict[str, str]) -> None:
    tests = str(site.parent / "source" / "tests")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", tests, tests],
        env=environment, capture_output=True, text=True, check=False, cwd=tests,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert int(ran.stdout.split(" passed")[0].split()[-1]) > 25


def test_help_lists_it_like_the_built_in_ones(environment: dict[str, str]) -> None:
    shown = " ".join(client("optimizer", "--help", environment=environment).stdout.split())
    engines, clients = sorted(re.findall(r"\[installed: ([^]]+)\]", shown), key=lambda names: "echo_load" in names)
    assert {"echo", "vllm"} <= set(engines.split(", "))
    assert {"echo_load", "vllm_benchmark"} <= set(clients.split(", "))


def test_check_reads_its_sections_and_its_target_fields(configuration: Path, environment: dict[str, str]) -> None:
    checked = client("check", "-c", str(configuration), "--dry-run", "--json", environment=environment)
    assert checked.returncode == 0, checked.stderr
    document = json.loads(checked.stdout)
    assert (document["engine"], document["benchmark"]) == ("echo", "echo_load")
    fields = {field["name"]: field["restart"] for field in document["space"]["fields"]}
    assert fields == {"WORKERS": True, "ECHO_BATCH": True, "CONCURRENCY": False, "KEEP_ALIVE": False}
    assert document["search"]["rules"] == ["echo_limits"]
    service, measuring = document["commands"]
    assert "--workers" in service["argv"]
    assert service["environment"] == {"ECHO_BATCH": "1"}
    assert "--no-keep-alive" in measuring["argv"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[echo]\nmemory_mb = -1", "echo.memory_mb: -1 is out of range"),
        ("[echo]\nmemory = 1", "echo.memory: unknown key, did you mean `memory_mb`?"),
        (
            '[search]\nrules = ["echo_limit"]',
            'search.rules[0]: "echo_limit" is not installed, did you mean `echo_limits`?',
        ),
        ('[search]\nrules = ["echo_limits", "echo_limits"]', "is listed twice"),
    ],
)
def test_mistakes_in_its_sections_are_told_by_line(
    text: str, told: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text('engine = "echo"\nbenchmark = "echo_load"\n' + text)
    checked = client("check", "-c", str(path), environment=environment)
    assert checked.returncode == 3
    assert told in checked.stderr
    assert "wrong.toml:4:" in checked.stderr


def test_doctor_names_the_package(configuration: Path, environment: dict[str, str]) -> None:
    looked = client("doctor", "-c", str(configuration), environment=environment)
    assert "engine echo (serviceopt-echo 0.1)" in looked.stdout
    assert "rule echo_limits (serviceopt-echo 0.1)" in looked.stdout


def test_a_run_measures_rejects_and_exports(tmp_path: Path, configuration: Path, environment: dict[str, str]) -> None:
    ended = client("run", "--standalone", "-c", str(configuration), environment=environment, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr + measurements(environment)
    recorded = records(tmp_path / "state")
    assert_sound(recorded)

    table = rows(client("export", environment=environment).stdout)
    columns = list(table[0])
    assert columns[5:9] == ["WORKERS", "ECHO_BATCH", "CONCURRENCY", "KEEP_ALIVE"]
    measured = [row for row in table if row["source"] == "measured"]
    rejected = [row for row in table if row["source"] == "predicted"]
    assert len(measured) == 8, "the budget is for what is measured"
    assert len(rejected) == len(of_type(recorded, e.ParticleRejected)) > 0
    assert all(row["real_evaluation"] == "true" and float(row["generate_speed"]) > 0 for row in measured)
    for row in rejected:
        assert row["real_evaluation"] == "false"
        assert row["error"].startswith("echo_limits: ")
        assert (row["evaluation"], row["repeats"], row["fitness"], row["feasible"]) == ("", "0", "1.0", "false")
    assert not [row for row in measured if int(row["WORKERS"]) > 8], "that does not fit into the memory"
    assert table[0]["particle"] == "1"
    assert table[0]["source"] == "measured"


def test_its_service_holds_all_connections_of_a_load_while_it_has_no_processor(site: Path) -> None:
    port = free_port()
    program = site / "serviceopt_echo" / "server.py"
    with subprocess.Popen([sys.executable, str(program), "--port", str(port)], stdout=subprocess.DEVNULL) as server:
        try:
            wait_for(lambda: answers(port), "the service listens")
            server.send_signal(signal.SIGSTOP)
            with ExitStack() as open_until_it_goes_on:
                connected = [
                    open_until_it_goes_on.enter_context(
                        socket.create_connection(("127.0.0.1", port), timeout=HANG / 10)
                    )
                    for _ in range(64)
                ]
                for connection in connected:
                    connection.settimeout(HANG)
                    connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
                server.send_signal(signal.SIGCONT)
                assert {connection.recv(12) for connection in connected} == {b"HTTP/1.1 200"}
        finally:
            server.kill()


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=HANG).close()
    except OSError:
        return False
    return True


def test_without_the_package_its_configuration_is_refused_by_name(tmp_path: Path, configuration: Path) -> None:
    checked = client("check", "-c", str(configuration), environment=places(tmp_path))
    assert checked.returncode == 3
    assert "engine `echo` is not installed" in checked.stderr
    assert 'search.rules[0]: "echo_limits" is not installed; one of declared' in checked.stderr
