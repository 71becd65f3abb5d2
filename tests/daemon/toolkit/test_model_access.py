"""A model that the service's user cannot read is named before anything is started, with the way to change that."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from serviceoptd.toolkit.interface import Workplace
from serviceoptd.toolkit.program import model_problems

NOBODY = 65534


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A directory that everybody may read, down to its weights."""
    above = [directory for directory in tmp_path.parents if directory.is_relative_to(tempfile.gettempdir())]
    for directory in (tmp_path, *above[:-1]):  # pytest keeps them for its own user
        directory.chmod(0o755)
    path = tmp_path / "model"
    path.mkdir(mode=0o755)
    for name in ("config.json", "model.safetensors"):
        (path / name).write_text("{}")
        (path / name).chmod(0o644)
    return path


def as_an_ordinary_user(work: Callable[[], str]) -> str:
    """What `work` gives in a process that is not root."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            os.write(writing, work().encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    return told


def problem(model: Path) -> str:
    place = Workplace(directory=Path("/nonexistent"), working_directory=Path("/"), environment={})
    return "; ".join(
        f"{found.message} ({found.hint})" for found in model_problems(str(model), "vllm.command.model", place)
    )


def test_a_model_that_can_be_read_is_no_problem(model: Path) -> None:
    assert as_an_ordinary_user(lambda: problem(model) + ".") == "."


def test_weights_that_only_their_owner_may_read_are_named(model: Path) -> None:
    weights = model / "model.safetensors"
    weights.chmod(0o600 if os.geteuid() == 0 else 0o000)
    told = as_an_ordinary_user(lambda: problem(model))
    assert f"{weights} cannot be read by the user" in told
    assert f"chmod -R o+rX {model}" in told


def test_a_directory_that_may_not_be_listed_is_named(model: Path) -> None:
    model.chmod(0o700 if os.geteuid() == 0 else 0o000)
    told = as_an_ordinary_user(lambda: problem(model))
    model.chmod(0o755)
    assert f"{model} cannot be read by the user" in told


def test_a_directory_above_that_may_not_be_entered_is_not_an_internal_error(model: Path) -> None:
    model.parent.chmod(0o700 if os.geteuid() == 0 else 0o000)
    told = as_an_ordinary_user(lambda: problem(model))
    model.parent.chmod(0o755)
    assert "may not be seen by the user" in told
    assert "doctor --unit" in told
