from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from child_stage import Stage
from serviceoptd.io import cgroups, reaping


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    reaping.kill_now(made.launch)


@pytest.fixture
def real_cgroup() -> Iterator[Path]:
    """A part of the real cgroup tree, as systemd would delegate it."""
    own = cgroups.own_cgroup()
    place = own / f"serviceopt-test-{os.getpid()}-{uuid.uuid4().hex[:6]}" if own is not None else None
    try:
        assert place is not None
        place.mkdir()
    except (AssertionError, OSError):
        pytest.skip("no cgroup v2 tree that this user may write")
    yield place
    for directory in sorted((path for path in place.rglob("*") if path.is_dir()), reverse=True):
        directory.rmdir()
    place.rmdir()
