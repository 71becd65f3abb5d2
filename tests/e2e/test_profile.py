"""`serviceoptctl profile`: from a configuration to training data, with a stand-in for vLLM and the real recorder."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from patience import HANG
from serviceopt_journal.documents.models import Profiled
from serviceoptd.profiling.data.reading import read_profile
from strict_documents import strictly
from stubs.scenario import STUB, client, places, start, stub_run, wait_for

PROFILED = STUB.with_name("profiled_vllm")


def a_configuration(directory: Path, **given: Any) -> Path:
    path = stub_run(directory, **given)
    path.write_text(path.read_text().replace(f'"{STUB}"', f'"{PROFILED}"'))
    return path


def profile(directory: Path, configuration: Path, *more: str) -> Any:
    return client(
        "profile", "-c", str(configuration), "-o", "recorded", "--configurations", "2", "--loads", "2", *more,
        environment=places(directory), cwd=directory,
    )  # fmt: skip


def test_it_records_each_load_of_each_configuration_and_train_learns_from_it(tmp_path: Path) -> None:
    configuration = a_configuration(tmp_path)
    ended = profile(tmp_path, configuration, "--json")
    assert ended.returncode == 0, ended.stderr
    document = json.loads(ended.stdout)
    strictly(document, Profiled)
    names = [f"configuration-{place}/load-{number}" for place in (1, 2) for number in (1, 2)]
    assert list(document["steps"]) == names
    assert document["left_out"] == {}
    described = json.loads((tmp_path / "recorded/configuration-1/configuration.json").read_text())
    assert described["configuration"] == {"MAX_NUM_SEQS": 16, "MAX_NUM_BATCHED_TOKENS": 2048, "CONCURRENCY": 8}
    assert described["limits"]["max_num_seqs"] == 16
    assert described["limits"]["kv_blocks"] == 256
    assert described["vllm"] == "0.32.0"
    assert described["command"][1] == "serve"

    found = read_profile(tmp_path / "recorded", framework="vllm")
    assert [load.run for load in found.loads] == [f"{name}.csv" for name in names]
    assert {run.name: len(run.seconds) for run in found.runs} == {f"{k}.csv": n for k, n in document["steps"].items()}
    assert all(20 < len(run.seconds) < 400 for run in found.runs)  # of the quarter second that the client measured
    assert not list((tmp_path / "recorded").glob("*/client-*/result.json"))

    again = profile(tmp_path, configuration)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count(": complete") == 2
    assert "starting the service" not in again.stderr
    assert "serviceoptctl train -i recorded" in again.stdout

    (tmp_path / "recorded/configuration-2/load-1.csv").unlink()
    rest = profile(tmp_path, configuration, "--json")
    assert list(json.loads(rest.stdout)["steps"]) == ["configuration-2/load-1"]

    other = profile(tmp_path, configuration, "--seed", "5")
    assert other.returncode == 3
    assert "belongs to another configuration" in other.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_service_and_the_client_and_leaves_what_is_complete(tmp_path: Path, number: int) -> None:
    configuration = a_configuration(tmp_path, client="--stub-hang --stub-when max-concurrency>8")
    log = tmp_path / "log"
    running = start(
        "serviceoptctl", "profile", "-c", str(configuration), "-o", "recorded", "--configurations", "1", "--loads", "4",
        environment=places(tmp_path), log=log, cwd=tmp_path,
    )  # fmt: skip
    wait_for(lambda: " steps" in log.read_text() and len(children(running.pid)) == 2, "the client of another load")
    started = children(running.pid)
    running.send_signal(number)
    assert running.wait(timeout=HANG) != 0
    assert not [process for process in started if alive(process)]
    assert "Traceback" not in log.read_text()
    assert (tmp_path / "recorded/configuration-1/load-1.csv").is_file()
    assert not (tmp_path / "recorded/configuration-1/load-4.csv").is_file()


def alive(process: psutil.Process) -> bool:
    """Whether it still does anything: one that has ended and that init has yet to notice does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def children(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


@pytest.mark.parametrize(
    ("service", "said"),
    [
        (
            "--stub-refuses",
            "this vLLM does not take the recorder: vllm: error: unrecognized arguments: --scheduler-cls",
        ),
        ("--stub-other-scheduler", "its scheduler was not the recorder"),
    ],
)
def test_a_vllm_that_does_not_take_the_recorder_is_told_apart(tmp_path: Path, service: str, said: str) -> None:
    ended = profile(tmp_path, a_configuration(tmp_path, service=service))
    assert ended.returncode == 4
    assert said in ended.stderr
    assert "tested with vLLM 0.32" in ended.stderr
    assert ended.stderr.count("starting the service") == 1


def test_a_recorder_that_stopped_is_told_with_its_reason(tmp_path: Path) -> None:
    ended = profile(tmp_path, a_configuration(tmp_path, service="--stub-breaks-at 20"))
    assert ended.returncode == 4
    assert "serviceopt_step_recorder: stopped: KeyError" in ended.stderr


def test_what_does_not_work_is_left_out_and_said(tmp_path: Path) -> None:
    fails_below = "--stub-hang --stub-die-after 0.1 --stub-when max-num-seqs<16"
    ended = profile(tmp_path, a_configuration(tmp_path, service=fails_below), "--configurations", "3", "--json")
    assert ended.returncode == 0, ended.stderr
    document = json.loads(ended.stdout)
    assert {name.partition("/")[0] for name in document["steps"]} | set(document["left_out"]) == {
        "configuration-1", "configuration-2", "configuration-3",
    }  # fmt: skip
    assert "configuration-1/load-1" in document["steps"]
    assert all("the service did not start" in reason for reason in document["left_out"].values())
    assert document["left_out"]


def test_requests_that_failed_are_no_data(tmp_path: Path) -> None:
    ended = profile(tmp_path, a_configuration(tmp_path, client="--stub-lie all-failed"))
    assert ended.returncode == 4
    assert "nothing could be measured" in ended.stderr
    assert not list((tmp_path / "recorded").glob("*/*.csv"))


def test_another_client_is_refused(tmp_path: Path) -> None:
    ended = profile(tmp_path, a_configuration(tmp_path), "-b", "command")
    assert ended.returncode == 3
    assert "vllm with command cannot be profiled" in ended.stderr
    assert not (tmp_path / "recorded").exists()


def test_a_service_that_somebody_else_runs_is_refused(tmp_path: Path) -> None:
    configuration = a_configuration(tmp_path, searched=("CONCURRENCY",))
    configuration.write_text(configuration.read_text().replace("[vllm]\n", "[vllm]\nmanage_lifecycle = false\n"))
    ended = profile(tmp_path, configuration)
    assert ended.returncode == 3
    assert "manage_lifecycle is false" in ended.stderr


def test_another_scheduler_class_of_the_users_is_refused(tmp_path: Path) -> None:
    ended = profile(tmp_path, a_configuration(tmp_path, service="--scheduler-cls mine.Scheduler"))
    assert ended.returncode == 3
    assert "--scheduler-cls is given already" in ended.stderr
