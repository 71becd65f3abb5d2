"""Prefill and decode on instances of their own, end to end: MindIE by its Kubernetes scripts, vLLM behind a proxy.

There is no cluster here and no accelerator: MindIE's scripts, kubectl, `vllm` and the proxy are stand-ins that check what
they are given, in which order, and misbehave when they are told to.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from patience import HANG
from serviceopt_journal import events as e
from stubs.kubernetes_scenario import StubCluster
from stubs.scenario import (
    STUB,
    Held,
    assert_sound,
    client,
    left_over,
    of_type,
    places,
    records,
    rows,
    start,
    verified,
    wait_for,
)

RUN = """
n_particles = {n_particles}
iters = {iters}
seed = 3
tpot_slo = 0.05
tpot_penalty = 1
launch_timeout = 300

[measurement]
warm_up_requests = 0

[proof]
measurements = 0

[deploy]
path_prefix = "{stubs}"

[kubectl]
kubectl_default_path = "{scripts}"
script_timeout = 20
gone_timeout = 20
{kubectl}

[kubectl.environment]
STUB_CLUSTER = "{state}"
STUB_FAULT = "{fault}"

[[mindie.target_field]]
name = "max_batch_size"
config_position = "BackendConfig.ScheduleConfig.maxBatchSize"
min = 10
max = 100
dtype = "int"

[[mindie.target_field]]
name = "default_p_rate"
config_position = "default_p_rate"
min = 1
max = 3
dtype = "int"
value = 1

[[mindie.target_field]]
name = "default_d_rate"
config_position = "default_d_rate"
min = 1
max = 3
dtype = "share"
dtype_param = "default_p_rate"

[[mindie.target_field]]
name = "CONCURRENCY"
config_position = "env"
min = 8
max = 8
dtype = "int"

[command.client]
argv = ["{vllm}", "bench", "serve", "--port", "{port}", "--num-prompts", "$NUM_PROMPTS", "--max-concurrency",
  "$CONCURRENCY", "--result-dir", "$RESULT_DIR", "--result-filename", "result.json"{client}]
num_prompts = 12
result_file = "result.json"

[command.client.metrics]
generate_speed = {{ path = "output_throughput", unit = "tok/s" }}
throughput = {{ path = "request_throughput", unit = "req/s" }}
completed = {{ path = "completed" }}
failed = {{ path = "failed" }}
"ttft.mean" = {{ path = "mean_ttft_ms", unit = "ms" }}
"tpot.mean" = {{ path = "mean_tpot_ms", unit = "ms" }}
"""
OPTIMIZER = ("optimizer", "-e", "mindie", "-b", "command", "--pd", "disaggregation", "--standalone")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[StubCluster]:
    made = StubCluster.below(tmp_path)
    yield made
    made.destroy()


def configured(
    cluster: StubCluster,
    *,
    fault: str = "",
    n_particles: int = 2,
    iters: int = 2,
    client_arguments: tuple[str, ...] = (),
    kubectl: str = "",
) -> Path:
    path = cluster.scripts.parent / "config.toml"
    path.write_text(
        RUN.format(
            stubs=STUB.parent / "kubernetes", scripts=cluster.scripts, state=cluster.state, port=cluster.port, vllm=STUB,
            fault=fault, n_particles=n_particles, iters=iters, kubectl=kubectl,
            client="".join(f', "{word}"' for word in client_arguments),
        )
    )  # fmt: skip
    return path


def tuned(configuration: Path, *more: str) -> tuple[Any, list[Any], list[dict[str, str]]]:
    """Runs the optimizer to its end: the process, the events, the rows."""
    directory = configuration.parent
    environment = places(directory)
    ended = client(*OPTIMIZER, "-c", str(configuration), *more, environment=environment, cwd=directory)
    exported = client("export", environment=environment)
    return ended, records(directory / "state"), rows(exported.stdout)


def in_the_background(configuration: Path) -> subprocess.Popen[bytes]:
    directory = configuration.parent
    return start(
        "serviceoptctl", *OPTIMIZER, "-c", str(configuration),
        environment=places(directory), log=directory / "foreground.log", cwd=directory,
    )  # fmt: skip


def test_the_ratio_of_prefill_to_decode_is_tuned_and_every_file_is_put_back(
    cluster: StubCluster, tmp_path: Path
) -> None:
    before = cluster.files()
    ended, recorded, table = tuned(configured(cluster))

    assert ended.returncode == 0, ended.stderr
    assert len(table) == 4
    assert [row["error"] for row in table] == [""] * 4
    assert all(int(row["default_p_rate"]) + int(row["default_d_rate"]) == 4 for row in table)
    deployed = [call for call in cluster.calls() if call.get("script") == "deploy.sh"]
    measured = [(int(row["max_batch_size"]), int(row["default_p_rate"]), int(row["default_d_rate"])) for row in table]
    assert [(call["batch"], *call["rates"]) for call in deployed] == measured
    assert measured[0] == (100, 1, 3)  # maxBatchSize 200 of the file lies above max
    assert cluster.order() == ["delete.sh", "deploy.sh", "delete.sh"] * 4
    assert all(event.devices == 8 for event in of_type(recorded, e.ServiceLaunching))
    assert cluster.files() == before
    assert cluster.living() == []
    assert_sound(recorded)
    verified(tmp_path)


def test_the_answer_is_the_scripts_changed_files(cluster: StubCluster, tmp_path: Path) -> None:
    configuration = configured(cluster)
    ended, _, _ = tuned(configuration)
    assert ended.returncode == 0, ended.stderr
    environment = places(configuration.parent)
    best = json.loads(client("best", "--json", environment=environment).stdout)["configuration"]
    shown = client("best", environment=environment).stdout
    assert "supervisor" not in shown
    assert f"# default_p_rate = {best['default_p_rate']}" in shown
    assert f"# BackendConfig.ScheduleConfig.maxBatchSize = {best['max_batch_size']}" in shown

    target = tmp_path / "finished"
    written = client("best", "--format", "config", "-o", f"{target}/", environment=environment)

    assert written.returncode == 0, written.stderr
    files = {path.name: json.loads(path.read_text()) for path in target.iterdir()}
    if "config.json" in files:
        assert files["config.json"]["BackendConfig"]["ScheduleConfig"]["maxBatchSize"] == best["max_batch_size"]
    if "ms_controller.json" in files:
        assert files["ms_controller.json"]["default_p_rate"] == best["default_p_rate"]
    assert files


@pytest.mark.parametrize(
    ("fault", "limit", "why"),
    [
        ("deploy-fails", "", "deploy.sh ended with exit status 3"),
        ("never-running", "running_timeout = 0.5", "the pods do not run: not within 0.5 s"),
        ("never-ready", "ready_timeout = 0.5", "MindIE-MS coordinator is ready!!!"),
        ("never-answers", "answer_timeout = 0.5", "was answered with 200: not within 0.5 s"),
    ],
)
def test_a_deployment_that_fails_is_a_row_that_says_why(
    cluster: StubCluster, tmp_path: Path, fault: str, limit: str, why: str
) -> None:
    before = cluster.files()
    ended, recorded, (row,) = tuned(configured(cluster, fault=fault, n_particles=1, iters=1, kubectl=limit))

    assert ended.returncode in (11, 12), ended.stderr
    assert why in row["error"]
    assert cluster.files() == before
    assert cluster.living() == []
    assert_sound(recorded)


def test_a_pod_that_ends_while_it_is_measured_is_named_as_the_cause(cluster: StubCluster, tmp_path: Path) -> None:
    configuration = configured(cluster, fault="dies=1", n_particles=1, iters=1, client_arguments=("--stub-hang",))
    _, recorded, (row,) = tuned(configuration)

    assert "restarted 1 times" in row["error"]
    assert cluster.living() == []
    assert_sound(recorded)


def test_pods_whose_supervisor_was_killed_do_not_outlive_the_evaluation(cluster: StubCluster, tmp_path: Path) -> None:
    configuration = configured(cluster, n_particles=1, iters=1, client_arguments=("--stub-hang",))
    running = in_the_background(configuration)
    for times in (1, 2):  # once more, and then it is a result
        wait_for(lambda: len(of_type(records(tmp_path / "state"), e.MeasurementStarted)) == times, "a measurement")  # noqa: B023
        os.kill(of_type(records(tmp_path / "state"), e.ServiceLaunched)[-1].pid, signal.SIGKILL)

    assert running.wait(HANG) in (11, 12)
    assert cluster.living() == []
    assert_sound(records(tmp_path / "state"))


@pytest.mark.parametrize("moment", ["deploying", "measuring"])
def test_after_a_kill_recovery_deletes_the_pods_puts_the_files_back_and_goes_on(
    cluster: StubCluster, tmp_path: Path, moment: str
) -> None:
    before = cluster.files()
    fault = "deploy-hangs" if moment == "deploying" else ""
    held = Held(tmp_path / "held")
    holds = tuple(held.arguments.split()) if moment == "measuring" else ()
    configuration = configured(cluster, fault=fault, iters=1, client_arguments=holds)
    running = in_the_background(configuration)
    if moment == "deploying":
        wait_for(cluster.living, "the pod")
    else:
        wait_for(held.under_way, "a measurement")
    running.kill()
    running.wait()
    assert cluster.files() != before
    assert cluster.living()
    assert left_over(records(tmp_path / "state"))

    configuration.write_text(configuration.read_text().replace('"deploy-hangs"', '""'))
    ended, recorded, table = tuned(configuration, "-lb")

    assert ended.returncode == 0, ended.stderr
    assert len(of_type(recorded, e.RunSubmitted)) == (1 if moment == "measuring" else 2)
    assert [row["error"] for row in table if row["run"] == table[-1]["run"]] == ["", ""]
    interrupted = of_type(recorded, e.EvaluationInterrupted)
    assert len(interrupted) == 1
    order = cluster.order()
    assert order[:3] == ["delete.sh", "deploy.sh", "delete.sh"]  # the third one is recovery's
    assert cluster.files() == before
    assert cluster.living() == []
    assert_sound(recorded)
    verified(tmp_path)


def test_what_is_missing_is_told_before_anything_is_written(cluster: StubCluster, tmp_path: Path) -> None:
    configuration = configured(cluster)
    (cluster.scripts / "delete.sh").unlink()
    ended, recorded, _ = tuned(configuration)
    assert ended.returncode == 4
    assert f"kubectl.kubectl_default_path: {cluster.scripts}/delete.sh does not exist" in ended.stderr
    assert recorded == []
    assert cluster.calls() == []


def test_engines_that_do_not_deploy_apart_say_so(cluster: StubCluster) -> None:
    directory = cluster.scripts.parent
    ended = client(
        "optimizer", "-e", "vllm", "-b", "command", "--pd", "disaggregation", "--standalone",
        "-c", str(configured(cluster)), environment=places(directory), cwd=directory,
    )  # fmt: skip
    assert ended.returncode == 3
    assert "--pd disaggregation is for the engine mindie" in ended.stderr
    assert "`serviceoptctl docs disaggregation`" in ended.stderr
