"""A cluster with one node, in a directory: $STUB_CLUSTER. Pods are processes that belong to nobody who asks for them.

It checks what it is given: the arguments of kubectl and of the scripts, their directory, and their order (deploying over
pods that still are there is refused). Every call of a script and every unexpected one of kubectl is a line of `calls`.

$STUB_FAULT, comma-separated, makes it misbehave:

    never-gone      deleted pods stay
    deletion-fails  delete.sh deletes, and exits with status 1 all the same
    deploy-fails    deploy.sh exits with status 3 and deploys nothing
    deploy-hangs    deploy.sh deploys and never ends
    never-running   the pod stays Pending
    crash-loop      the pod cannot be kept running
    never-ready     no ready line in the log
    never-answers   nobody listens on the node port
    dies=SECONDS    the pod ends so long after it was ready, and is started again by the cluster
    logs-break      the connection of `kubectl logs -f` breaks every 0.1 s
    logs-fail       `kubectl logs` is forbidden
    refuses=N       the first N `kubectl get` fail, as while a cluster restarts
    hangs           `kubectl get` never answers
    nonsense        `kubectl get` answers with something that is no JSON
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PENDING, TERMINATING = 0.05, 0.1  # seconds that a pod takes to be started, and to be gone


def main(given: list[str]) -> int:
    """kubectl; `stub-deploy` and `stub-delete` are the parts of the scripts that talk to the cluster."""
    state = Path(os.environ["STUB_CLUSTER"])
    match given:
        case ["stub-deploy", *arguments]:
            return deploy(state, arguments)
        case ["stub-delete", *arguments]:
            return delete(state, arguments)
        case ["get", "pods", "-n", namespace, "-o", "json", *chosen] if len(chosen) in (0, 2):
            return get(state, namespace, chosen)
        case ["logs", "-f", "-n", "mindie", "--all-containers", *more, name]:
            return logs(state, name, since=bool(more))
    note(state, kubectl=given)
    sys.stderr.write(f"error: unknown command {given}\n")
    return 1


def faults() -> dict[str, float]:
    words = (word.partition("=") for word in os.environ.get("STUB_FAULT", "").split(",") if word)
    return {name: float(value or 0) for name, _, value in words}


def note(state: Path, **what: Any) -> None:
    state.mkdir(parents=True, exist_ok=True)
    with (state / "calls").open("a") as file:
        file.write(json.dumps(what) + "\n")


def deploy(state: Path, arguments: list[str]) -> int:
    configuration, controller = (
        json.loads(Path("conf", name).read_text()) for name in ("config.json", "ms_controller.json")
    )
    batch = configuration["BackendConfig"]["ScheduleConfig"]["maxBatchSize"]
    rates = [controller["default_p_rate"], controller["default_d_rate"]]
    present = [path.stem for path in pods(state)]
    note(state, script="deploy.sh", arguments=arguments, batch=batch, rates=rates, present=present)
    if "deploy-fails" in faults():
        sys.stderr.write("error: the server doesn't have a resource type\n")
        return 3
    if present:
        sys.stderr.write("Error from server (AlreadyExists): deployments.apps already exists\n")
        return 1
    deployment = Path("deployment", "mindie_service_single_container.yaml").read_text()
    port = deployment.split("nodePort:")[1].split()[0]
    number = len((state / "calls").read_text().splitlines())
    start(state, f"mindie-server-{number}", port, str(batch))
    if "deploy-hangs" in faults():
        time.sleep(600)
    return 0


def start(state: Path, name: str, port: str, batch: str) -> None:
    place = state / "pods"
    place.mkdir(exist_ok=True)
    with (place / f"{name}.log").open("ab") as log:
        # an environment of its own, as on another machine: nothing of it shows who deployed it
        process = subprocess.Popen(
            [sys.executable, "-S", "-E", str(Path(__file__).with_name("stub_pod.py")), port, batch],
            env={"PATH": os.environ["PATH"], "STUB_FAULT": os.environ.get("STUB_FAULT", "")},
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    written(place / f"{name}.json", {"pid": process.pid, "created": time.time(), "deleted": None})


def delete(state: Path, arguments: list[str]) -> int:
    note(state, script="delete.sh", arguments=arguments, directory=sorted(path.name for path in Path().iterdir()))
    if arguments != ["mindie", "."]:
        sys.stderr.write(f"error: delete.sh was given {arguments}\n")
        return 2
    for path in [] if "never-gone" in faults() else pods(state):
        pod = json.loads(path.read_text())
        end(pod["pid"])
        written(path, {**pod, "deleted": time.time()})
    if "deletion-fails" in faults():
        sys.stderr.write('Error from server (NotFound): configmaps "scaling-rule" not found\n')
        return 1
    return 0


def get(state: Path, namespace: str, chosen: list[str]) -> int:
    faulty = faults()
    if "hangs" in faulty:
        time.sleep(600)
    if "nonsense" in faulty:
        sys.stdout.write("No resources found\n")
        return 0
    if faulty.get("refuses", 0) > count(state / "refused"):
        with (state / "refused").open("a") as file:
            file.write("x")
        sys.stderr.write("The connection to the server was refused - did you specify the right host or port?\n")
        return 1
    items = [described(path) for path in pods(state)] if namespace == "mindie" else []
    if chosen and chosen != ["-l", "app=mindie-server"]:
        items = []
    stranger = {"metadata": {"name": "etcd", "uid": "0"}, "status": {"phase": "Running"}}
    sys.stdout.write(json.dumps({"kind": "List", "items": items if chosen else [*items, stranger]}))
    return 0


def count(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def described(path: Path) -> dict[str, Any]:
    pod, faulty = json.loads(path.read_text()), faults()
    restarted = pod["deleted"] is None and not lives(pod["pid"])
    pending = time.time() - pod["created"] < PENDING or "never-running" in faulty
    waiting = "CrashLoopBackOff" if "crash-loop" in faulty or restarted else "ContainerCreating" if pending else None
    container = {
        "restartCount": int(restarted),
        "state": {"waiting": {"reason": waiting}} if waiting else {"running": {}},
    }
    return {
        "metadata": {"name": path.stem, "uid": f"uid-of-{path.stem}", "labels": {"app": "mindie-server"}},
        "status": {"phase": "Pending" if pending else "Running", "containerStatuses": [container]},
    }


def pods(state: Path) -> list[Path]:
    """The files of the pods that there are; those that have been deleted for long enough go."""
    found = sorted((state / "pods").glob("*.json"))
    for path in found:
        deleted = json.loads(path.read_text())["deleted"]
        if deleted is not None and time.time() - deleted > TERMINATING:
            path.unlink(missing_ok=True)
    return [path for path in found if path.exists()]


def logs(state: Path, name: str, *, since: bool) -> int:
    faulty = faults()
    path, description = state / "pods" / f"{name}.log", state / "pods" / f"{name}.json"
    if "logs-fail" in faulty or not path.exists():
        sys.stderr.write(f'Error from server (Forbidden): pods "{name}" is forbidden\n')
        return 1
    breaks_at = time.time() + 0.1 if "logs-break" in faulty else float("inf")
    with path.open() as file:
        if since:
            file.seek(max(0, path.stat().st_size - 200))
        while time.time() < breaks_at:
            line = file.readline()
            if line:
                sys.stdout.write(line)
                sys.stdout.flush()
            elif not description.exists() or not lives(json.loads(description.read_text())["pid"]):
                return 0
            else:
                time.sleep(0.01)
    return 0


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def end(pid: int) -> None:
    if lives(pid):
        os.kill(pid, signal.SIGKILL)


def written(path: Path, document: dict[str, Any]) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(document))
    temporary.replace(path)
