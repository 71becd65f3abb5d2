"""Becoming another user in tests that run as root."""

from __future__ import annotations

import os
import subprocess
from functools import cache

import pytest

NOBODY = 65534


@cache
def _usable(python: str) -> str:
    """Why another user cannot run this interpreter with our packages; empty when he can."""
    identity = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    try:
        tried = subprocess.run(
            [python, "-c", "import serviceopt_journal, serviceoptctl, click"],
            capture_output=True, text=True, check=False, cwd="/", **identity,  # type: ignore[call-overload]
        )  # fmt: skip
    except PermissionError as error:
        return str(error)
    return "" if tried.returncode == 0 else tried.stderr.strip().rpartition("\n")[2]


def for_everybody(python: str) -> None:
    """Skips the test where the interpreter or the checkout lies where other users may not go (/root, a closed home)."""
    if why := _usable(python):
        pytest.skip(f"other users cannot use this Python: {why}")
