"""A real systemd in throw-away namespaces, with serviceopt installed in it by the documented recipe.

Needs root and a kernel that lets `systemd-sandbox` boot; the tests are skipped, with the reason, where it cannot.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandboxed import ROOT, STATE, SYSTEM_PYTHON, UNIT, Sandbox, install


@pytest.fixture(scope="session")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A booted sandbox with the source, the stubs and the wheels in it; nothing is installed."""
    if os.geteuid() != 0:
        pytest.skip("systemd tests need root")
    wheels = _wheels(tmp_path_factory.mktemp("wheels"))
    sandbox = Sandbox(f"serviceopt-{os.getpid()}")
    up = sandbox.control(
        "up", "--no-install", "--bind-ro", f"{ROOT}:/mnt/source", "--bind-ro", f"{wheels}:/mnt/wheels",
        "--bind-ro", f"{ROOT / 'tests' / 'stubs'}:/mnt/stubs",
    )  # fmt: skip
    if up.returncode != 0:
        sandbox.control("down", "--force")
        pytest.skip(f"systemd-sandbox cannot boot here: {(up.stderr or up.stdout).strip()}")
    try:
        yield sandbox
    finally:
        sandbox.control("down", "--force")


def _wheels(directory: Path) -> Path:
    """The project and its dependencies as wheels for the system's Python: the sandbox has no network."""
    if not Path(SYSTEM_PYTHON).exists():
        pytest.skip(f"no {SYSTEM_PYTHON} here")
    pip = directory / "builder" / "bin" / "pip"
    for command in (
        [SYSTEM_PYTHON, "-m", "venv", str(directory / "builder")],
        [str(pip), "wheel", "--quiet", "--wheel-dir", str(directory / "wheels"), str(ROOT)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        if done.returncode != 0:
            pytest.skip(f"the wheels cannot be made here: {done.stderr.strip()[-500:]}")
    return directory / "wheels"


@pytest.fixture(scope="session")
def installed(booted: Sandbox) -> Sandbox:
    """The same with serviceopt installed, and two people: alice is in the group serviceopt, mallory is not."""
    install(booted)
    booted.must("useradd", "--create-home", "--groups", "serviceopt", "alice")
    booted.must("useradd", "--create-home", "mallory")
    return booted


@pytest.fixture
def sandbox(installed: Sandbox) -> Iterator[Sandbox]:
    """The installed unit, stopped, with an empty state directory, no drop-ins and no configuration."""
    _clean(installed)
    yield installed
    _clean(installed)


def _clean(sandbox: Sandbox) -> None:
    sandbox.run("systemctl", "kill", "-s", "KILL", UNIT)
    sandbox.run("systemctl", "stop", UNIT)
    sandbox.run("systemctl", "reset-failed", UNIT)
    sandbox.must("rm", "-rf", STATE, f"/etc/systemd/system/{UNIT}.d")
    sandbox.must("find", "/etc/serviceoptd/runs.d", "-type", "f", "-delete")
    sandbox.must("systemctl", "daemon-reload")
