"""`make help` names every target, and starts with the lines that it prints."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TARGETS = {
    target
    for path in (ROOT / "Makefile", ROOT / "systemd/install.mk")
    for line in re.findall(r"^\.PHONY:(.*)$", path.read_text(), re.MULTILINE)
    for target in line.split()
}


def told_by(*arguments: str) -> str:
    if not shutil.which("make"):
        pytest.skip("there is no make here")
    # Not as a part of the make that runs this test, with its variables and its remarks.
    alone = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(["make", *arguments], cwd=ROOT, env=alone, capture_output=True, text=True, check=True).stdout


def test_help_names_every_target() -> None:
    assert {"test", "install"} <= TARGETS
    assert set(re.findall(r"make ([\w-]+)", told_by("help"))) == TARGETS


@pytest.mark.parametrize(
    ("chosen", "handed_on"),
    [
        ("tests/journal/test_chain.py::test_x", "tests/journal/test_chain.py::test_x"),
        ("--last-failed", "--last-failed"),
        ("killed and daemon", "-k 'killed and daemon'"),
    ],
)
def test_a_part_of_the_suite_is_chosen_by_path_option_or_expression(chosen: str, handed_on: str) -> None:
    last = told_by("--dry-run", "test", f"T={chosen}").splitlines()[-1]
    assert last.endswith(f'pytest -m "not real" {handed_on}')
