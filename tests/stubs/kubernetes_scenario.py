"""A directory of deployment scripts and a stand-in cluster, for the tests of prefill and decode on separate instances."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stubs.scenario import free_port

STUBS = Path(__file__).parent / "kubernetes"
NODE_PORT = "31015"


@dataclass(frozen=True)
class StubCluster:
    """`scripts` is what kubectl_default_path names; `state` is the cluster itself."""

    scripts: Path
    state: Path
    port: int

    @classmethod
    def below(cls, directory: Path) -> StubCluster:
        """A fresh one, on a free node port."""
        cluster = cls(directory / "scripts", directory / "cluster", free_port())
        shutil.copytree(STUBS / "scripts", cluster.scripts)
        deployment = cluster.scripts / "deployment" / "mindie_service_single_container.yaml"
        deployment.write_text(deployment.read_text().replace(NODE_PORT, str(cluster.port)))
        return cluster

    def environment(self, fault: str = "") -> dict[str, str]:
        """For the scripts and kubectl. The tool's own virtual environment need not be on the PATH."""
        path = f"{STUBS}{os.pathsep}{os.environ['PATH']}"
        return {"PATH": path, "STUB_CLUSTER": str(self.state), "STUB_FAULT": fault}

    def calls(self) -> list[dict[str, Any]]:
        """What the scripts, and kubectl where it was misused, were asked for; in order."""
        path = self.state / "calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def order(self) -> list[str]:
        """The scripts in the order in which they ran."""
        return [call.get("script", f"kubectl {call.get('kubectl')}") for call in self.calls()]

    def living(self) -> list[int]:
        """Processes of pods that live, whether the cluster lists them or not."""
        found = [json.loads(path.read_text())["pid"] for path in (self.state / "pods").glob("*.json")]
        return [pid for pid in found if _lives(pid)]

    def files(self) -> dict[str, bytes]:
        """Everything in the scripts' directory, byte for byte."""
        return {str(p.relative_to(self.scripts)): p.read_bytes() for p in self.scripts.rglob("*") if p.is_file()}

    def destroy(self) -> None:
        """Ends the pods, and scripts that hang: what a killed supervisor, or a failed test, has left."""
        for pid in [*self.living(), *self._asking()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _asking(self) -> list[int]:
        mark = f"STUB_CLUSTER={self.state}".encode()
        return [
            int(entry.name)
            for entry in Path("/proc").iterdir()
            if entry.name.isdigit() and mark in _environment(entry) and int(entry.name) != os.getpid()
        ]


def _environment(entry: Path) -> list[bytes]:
    try:
        return (entry / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
