"""A real systemd in throw-away namespaces, with serviceopt installed in it by the documented recipe.

Needs root and a kernel that lets `systemd-sandbox` boot; the tests are skipped, with the reason, where it cannot.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from sandboxed import ROOT, STATE, UNIT, Sandbox, install, make_wheels


@pytest.fixture(scope="session")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A booted sandbox with the source, the stubs and the wheels in it; nothing is installed."""
    if os.geteuid() != 0:
        pytest.skip("systemd tests need root")
    wheels = make_wheels(tmp_path_factory.mktemp("wheels"))
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


@pytest.fixture(scope="session")
def installed(booted: Sandbox) -> Sandbox:
    """The same with serviceopt installed, and two people: alice is in the group serviceopt, mallory is not."""
    install(booted)
    booted.must("useradd", "--create-home", "--groups", "serviceopt", "alice")
    booted.must("useradd", "--create-home", "mallory")
    booted.must("sh", "-c", CLEAN)  # the host's files are those of the sandbox, and its user may have a journal there
    return booted


@pytest.fixture
def sandbox(installed: Sandbox) -> Iterator[Sandbox]:
    """The installed unit, stopped, with an empty state directory, no drop-ins and no configuration."""
    yield installed
    installed.must("sh", "-c", CLEAN)


CLEAN = f"""
systemctl kill -s KILL {UNIT} 2>/dev/null
systemctl stop {UNIT}; systemctl reset-failed {UNIT} 2>/dev/null
rm -rf {STATE} /etc/systemd/system/{UNIT}.d /etc/serviceoptd/runs.d/* /srv/*
systemctl daemon-reload
"""
