"""The supervisor as a real process, with MindIE's scripts and kubectl played by stand-ins that check and misbehave."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serviceoptd.contract.orders import a_service_order, a_workplace
from serviceoptd.engines.interface import ServicePlan
from serviceoptd.engines.mindie_kubernetes.engine import MindieKubernetesEngine
from serviceoptd.engines.mindie_kubernetes.supervisor import READY
from stubs.kubernetes_scenario import StubCluster
from stubs.scenario import wait_for

LONG = 120.0  # seconds; the machine that the tests run on may be busy
LIMITS = {f"{name}_timeout": 60.0 for name in ("script", "kubectl", "gone", "running", "ready", "answer")}


class Launch:
    """One launch of the service, as the daemon makes it from the engine's plan."""

    def __init__(self, cluster: StubCluster, tmp_path: Path, **section: Any) -> None:
        self.cluster = cluster
        self.place = a_workplace(tmp_path)
        self.output = tmp_path / "service.log"
        options = {"kubectl_default_path": str(cluster.scripts), **LIMITS, **section}
        engine = MindieKubernetesEngine(MindieKubernetesEngine.section.model_validate(options).model_dump(mode="json"))
        self.plan: ServicePlan = engine.plan(a_service_order(self.place, {}, ()))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, fault: str = "", **environment: str) -> subprocess.Popen[bytes]:
        assert self.plan.command is not None
        with self.output.open("ab") as log:
            self.process = subprocess.Popen(
                self.plan.command.argv, env=self.cluster.environment(fault) | environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        return self.process

    def stop(self, fault: str = "", limit: float = LONG) -> int:
        """Runs the stop command to its end."""
        assert self.plan.stop is not None
        ended = subprocess.run(
            self.plan.stop.argv, env=self.cluster.environment(fault), capture_output=True, timeout=limit, check=False
        )
        with self.output.open("ab") as log:
            log.write(ended.stdout + ended.stderr)
        return ended.returncode

    @property
    def printed(self) -> str:
        return self.output.read_text() if self.output.exists() else ""

    def until_ready(self) -> None:
        wait_for(lambda: READY in self.printed or self.ended, "the service to be ready")
        assert READY in self.printed, self.printed

    @property
    def ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def failure(self, limit: float = LONG) -> str:
        """The last line of a supervisor that has to give up."""
        assert self.process is not None
        assert self.process.wait(limit) == 1, self.printed
        return self.printed.splitlines()[-1]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[StubCluster]:
    made = StubCluster.below(tmp_path)
    yield made
    made.destroy()


@pytest.fixture
def launch(cluster: StubCluster, tmp_path: Path) -> Iterator[Any]:
    made: list[Launch] = []

    def make(**section: Any) -> Launch:
        made.append(Launch(cluster, tmp_path, **section))
        return made[-1]

    yield make
    for each in made:
        if each.process is not None and each.process.poll() is None:
            each.process.kill()
            each.process.wait()


def test_it_deletes_deploys_waits_and_deletes_again(cluster: StubCluster, launch: Any) -> None:
    service = launch(deploy_arguments=["800i_a2"])
    process = service.start()
    service.until_ready()

    lines = service.printed.splitlines()
    assert lines.index("MindIE-MS coordinator is ready!!!") < lines.index(READY)
    wait_for(lambda: "request answered" in service.printed, "the pod's own line about the first request")
    assert len(cluster.living()) == 1

    process.send_signal(signal.SIGTERM)
    assert process.wait(LONG) == 0
    assert cluster.living() == []
    assert cluster.order() == ["delete.sh", "deploy.sh", "delete.sh"]
    deletion, deployment, _ = cluster.calls()
    assert deletion["arguments"] == ["mindie", "."]
    assert "deploy.sh" in deletion["directory"]
    assert (deployment["arguments"], deployment["present"]) == (["800i_a2"], [])


def test_pods_of_an_earlier_deployment_are_gone_before_it_deploys(cluster: StubCluster, launch: Any) -> None:
    earlier = launch()
    earlier.start()
    earlier.until_ready()
    assert earlier.process is not None
    earlier.process.kill()  # as with a machine that lost its power: nobody deletes
    earlier.process.wait()
    assert len(cluster.living()) == 1

    service = launch()
    service.output.unlink()
    service.start()
    service.until_ready()

    assert [call["present"] for call in cluster.calls() if call["script"] == "deploy.sh"] == [[], []]
    assert len(cluster.living()) == 1


def test_the_stop_command_ends_the_supervisor_and_the_pods(cluster: StubCluster, launch: Any) -> None:
    service = launch()
    process = service.start()
    service.until_ready()

    assert service.stop() == 0
    assert process.wait(LONG) == 0
    assert cluster.living() == []
    assert cluster.order() == ["delete.sh", "deploy.sh", "delete.sh"]


def test_the_stop_command_deletes_what_a_killed_supervisor_has_left(cluster: StubCluster, launch: Any) -> None:
    service = launch()
    process = service.start()
    service.until_ready()
    process.kill()
    process.wait()

    assert service.stop() == 0
    assert cluster.living() == []


def test_a_launch_that_was_stopped_never_deploys_any_more(cluster: StubCluster, launch: Any) -> None:
    service = launch()
    assert service.stop() == 0
    process = service.start()
    assert process.wait(LONG) == 0
    assert "stopped already" in service.printed
    assert cluster.order() == ["delete.sh"]


def test_stopping_in_the_middle_of_deploying_leaves_no_pod(cluster: StubCluster, launch: Any) -> None:
    service = launch()
    process = service.start("deploy-hangs")
    wait_for(cluster.living, "the pod")

    assert service.stop() == 0
    assert process.wait(LONG) == 0
    assert cluster.living() == []


def test_a_script_that_outlives_its_supervisor_does_not_keep_the_launch(cluster: StubCluster, launch: Any) -> None:
    service = launch()
    process = service.start("deploy-hangs")
    wait_for(cluster.living, "the pod")
    process.kill()
    process.wait()
    assert service.stop() == 0
    assert cluster.living() == []


def test_the_stop_command_says_when_the_pods_are_not_gone(cluster: StubCluster, launch: Any) -> None:
    service = launch(gone_timeout=0.5)
    process = service.start()
    service.until_ready()
    process.kill()
    process.wait()
    assert service.stop("never-gone") == 1
    assert "pods are not gone: not within 0.5 s: mindie-server-2 is Running" in service.printed.splitlines()[-1]


@pytest.mark.parametrize("fault", ["deletion-fails", "refuses=2", "logs-break"])
def test_what_does_not_matter_is_no_failure(cluster: StubCluster, launch: Any, fault: str) -> None:
    service = launch()
    process = service.start(fault)
    service.until_ready()
    printed = len(service.printed)
    time.sleep(0.3)  # long enough for a connection to have broken

    process.send_signal(signal.SIGTERM)
    assert process.wait(LONG) == 0, service.printed[printed:]
    assert cluster.living() == []


@pytest.mark.parametrize(
    ("fault", "section", "why"),
    [
        ("deploy-fails", {}, "deploy.sh ended with exit status 3"),
        ("deploy-hangs", {"script_timeout": 4}, "deploy.sh was not over within 4 s"),
        (
            "never-running",
            {"running_timeout": 0.5},
            "the pods do not run: not within 0.5 s: mindie-server-2 is Pending",
        ),
        ("crash-loop", {}, ", CrashLoopBackOff"),  # of a pod that is pending still, or runs by now
        ("never-ready", {"ready_timeout": 0.5}, "log has no line with 'MindIE-MS coordinator is ready!!!': not within"),
        ("never-answers", {"answer_timeout": 0.5}, "was answered with 200: not within 0.5 s"),
        ("dies=0.5", {}, "pod mindie-server-2 is Running, CrashLoopBackOff"),
        ("logs-fail", {"kubectl_timeout": 4}, "kubectl logs mindie-server-2: exit status 1: Error from server"),
    ],
)
def test_what_fails_is_the_last_line_and_leaves_no_pod(
    cluster: StubCluster, launch: Any, fault: str, section: dict[str, Any], why: str
) -> None:
    service = launch(**section)
    service.start(fault)
    failure = service.failure()
    assert failure.startswith("serviceopt: ")
    assert why in failure
    assert cluster.living() == []
    assert cluster.order() == ["delete.sh", "deploy.sh", "delete.sh"]


@pytest.mark.parametrize(
    ("fault", "section", "why"),
    [
        ("hangs", {"kubectl_timeout": 0.5}, "kubectl get pods: no answer within 0.5 s"),
        ("nonsense", {}, "not the JSON that was asked for"),
        ("refuses=1000", {}, "exit status 1: The connection to the server was refused"),
    ],
)
def test_a_cluster_that_does_not_tell_is_not_deployed_to(
    cluster: StubCluster, launch: Any, fault: str, section: dict[str, Any], why: str
) -> None:
    service = launch(gone_timeout=0.5, **section)
    service.start(fault)
    assert why in service.failure()
    assert cluster.order() == ["delete.sh"]


def test_pods_that_are_never_gone_are_not_deployed_over(cluster: StubCluster, launch: Any) -> None:
    earlier = launch()
    earlier.start()
    earlier.until_ready()
    assert earlier.process is not None
    earlier.process.kill()
    earlier.process.wait()

    service = launch(gone_timeout=0.5)
    service.start("never-gone")
    assert "the pods are not gone: not within 0.5 s: mindie-server-2 is Running" in service.failure()
    assert cluster.order() == ["delete.sh", "deploy.sh", "delete.sh"]


@pytest.mark.parametrize("missing", ["kubectl", "bash"])
def test_a_program_that_is_not_there_is_named_at_once(
    cluster: StubCluster, launch: Any, tmp_path: Path, missing: str
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in {"bash", "env", "python3"} - {missing}:
        found = shutil.which(name)
        assert found is not None
        (programs / name).symlink_to(found)
    service = launch(program="kubectl" if missing == "kubectl" else None)
    service.start(PATH=str(programs))
    assert f"{missing} cannot be started: No such file or directory" in service.failure()


def test_lines_of_the_pods_log_are_printed_whole(cluster: StubCluster, launch: Any) -> None:
    service = launch(ready_log="is ready!!!")
    service.start()
    service.until_ready()
    assert {"MindIE-MS coordinator is not ready...", "MindIE-MS coordinator is ready!!!", READY} <= set(
        service.printed.splitlines()
    )


def test_pods_are_found_by_label_too(cluster: StubCluster, launch: Any) -> None:
    found = launch(pod_label="app=mindie-server", pod_prefix="something-else")
    found.start()
    found.until_ready()
    assert found.stop() == 0

    missed = launch(pod_label="app=another", running_timeout=0.5)
    (missed.place.directory / "supervisor.lock").unlink()
    missed.start()
    assert "there is no pod" in missed.failure()


def test_the_supervisor_is_ours_whatever_python_the_submitter_uses(
    cluster: StubCluster, launch: Any, tmp_path: Path
) -> None:
    (tmp_path / "asyncio.py").write_text("raise SystemExit('the submitter\\'s own asyncio')\n")
    service = launch()
    service.start(PYTHONPATH=str(tmp_path), PYTHONHOME="/nowhere")
    service.until_ready()
    assert service.stop() == 0
    assert os.environ.get("PYTHONHOME") is None
