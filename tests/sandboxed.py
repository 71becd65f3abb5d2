"""A booted systemd for tests, and what is run in it. The fixtures are in systemd/conftest.py."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from patience import HANG

ROOT = Path(__file__).parents[1]
SANDBOX = ROOT / "tests" / "systemd" / "systemd-sandbox"
UNIT = "serviceoptd.service"
SYSTEM_PYTHON = "/usr/bin/python3"
STATE = "/var/lib/serviceoptd"


class Sandbox:
    """A booted systemd. Commands run inside it; what they change is gone with it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def control(self, *arguments: str, timeout: float = HANG) -> subprocess.CompletedProcess[str]:
        """Runs systemd-sandbox itself."""
        command = [str(SANDBOX), "--name", self.name, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)

    def run(
        self,
        *command: str,
        user: str | None = None,
        cwd: str = "/",
        environment: dict[str, str] | None = None,
        timeout: float = HANG,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command inside, with the environment of a fresh login; its exit status is returned."""
        options = ["--clean-env", "--cwd", cwd, *(["--user", user] if user else [])]
        login = {"HOME": f"/home/{user}" if user else "/root", "USER": user or "root", "LOGNAME": user or "root"}
        for name, value in {**login, **(environment or {})}.items():
            options += ["--env", f"{name}={value}"]
        return self.control("exec", *options, "--", *command, timeout=timeout)

    def must(self, *command: str, **options: Any) -> str:
        """The same, and its output; a failure fails the test with all that it said."""
        done = self.run(*command, **options)
        if done.returncode != 0:  # the end of a report is what is always shown
            pytest.fail(
                f"{self.log()}\n{done.stdout[-2000:]}\n{command}: exit {done.returncode}: {done.stderr[-2000:]}"
            )
        return done.stdout

    def write(self, path: str, text: str, *, mode: str = "0644") -> None:
        """A file inside."""
        script = 'mkdir -p "$(dirname "$1")" && printf "%s" "$2" >"$1" && chmod "$3" "$1"'
        self.must("sh", "-c", script, "write", path, text, mode)

    def show(self, *properties: str) -> dict[str, str]:
        """Properties of the unit."""
        output = self.must("systemctl", "show", UNIT, *(f"--property={name}" for name in properties))
        return dict(line.split("=", 1) for line in output.splitlines() if "=" in line)

    def events(self, *types: str) -> list[dict[str, Any]]:
        """The journal's events, oldest first, read by the installed client."""
        output = self.must("serviceoptctl", "events", "--json", "-n", "100000", *(f"--type={each}" for each in types))
        return [json.loads(line)["event"] for line in output.splitlines()]

    def status(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.must("serviceoptctl", "status", "--json"))
        return document

    def log(self) -> str:
        """The unit's log, for the message of a failure."""
        return self.run("journalctl", "-u", UNIT, "--no-pager", "-n", "60").stdout

    def until(self, holds: Callable[[], Any], what: str, *, limit: float = HANG, poll: float = 0.05) -> Any:
        """Waits until something holds, looking each `poll` seconds."""
        end = time.monotonic() + limit
        while not (value := holds()):
            assert time.monotonic() < end, f"{what}: not within {limit} s\n{self.log()}"
            time.sleep(poll)
        return value

    def processes_with_a_launch_id(self) -> list[str]:
        """Every process inside that was started as a service or a client, whatever became of its parents."""
        script = (
            "import glob\n"
            "for path in glob.glob('/proc/[0-9]*/environ'):\n"
            "    try:\n"
            "        if b'SERVICEOPT_LAUNCH_ID=' in open(path, 'rb').read(): print(path)\n"
            "    except OSError: pass\n"
        )
        return self.must(SYSTEM_PYTHON, "-c", script).split()


def make_wheels(directory: Path) -> Path:
    """The project and its dependencies as wheels for the system's Python: the sandbox has no network."""
    if not Path(SYSTEM_PYTHON).exists():
        pytest.skip(f"no {SYSTEM_PYTHON} here")
    pip = directory / "builder" / "bin" / "pip"
    for command in (
        [SYSTEM_PYTHON, "-m", "venv", str(directory / "builder")],
        [str(pip), "wheel", "--quiet", "--wheel-dir", str(directory / "wheels"), str(ROOT)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANG)
        if done.returncode != 0:
            pytest.skip(f"the wheels cannot be made here: {done.stderr.strip()[-500:]}")
    return directory / "wheels"


def install(sandbox: Sandbox, *variables: str) -> str:
    """`make install` as documented for a machine without a network."""
    return sandbox.must(
        "make", "--no-print-directory", "-C", "/mnt/source", "install",
        f"PACKAGE={_wheel(sandbox)}", "PIP_ARGUMENTS=--no-index --find-links /mnt/wheels", *variables,
    )  # fmt: skip


def _wheel(sandbox: Sandbox) -> str:
    return sandbox.must("find", "/mnt/wheels", "-name", "serviceopt-*.whl").strip()


STUB_CONFIGURATION = """
n_particles = {particles}
iters = 1
stop_timeout = 1

[proof]
measurements = 0

[vllm]
program = "/mnt/stubs/vllm"
[vllm.command]
host = "127.0.0.1"
port = 18300
model = "stub-model"
served_model_name = "stub"
others = "{service}"

[[vllm.target_field]]
name = "MAX_NUM_SEQS"
config_position = "env"
min = 8
max = 64
dtype = "int"
value = 16

[vllm_benchmark]
program = "/mnt/stubs/vllm"
[vllm_benchmark.command]
host = "127.0.0.1"
port = 18300
model = "stub-model"
served_model_name = "stub"
dataset_name = "random"
num_prompts = 20
others = "{client}"
"""


def stub_configuration(*, particles: int = 3, service: str = "", client: str = "") -> str:
    """A run of the stub programs, each of them a real process; the arguments are those of tests/stubs."""
    return STUB_CONFIGURATION.format(particles=particles, service=service, client=client)
