"""The daemon's own log: nothing that others wrote commands the terminal in which it is read."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from unseen import EVIL, unseen

LOGGED = """
import os, sys, structlog
from serviceoptd.io import log
log.configure("INFO")
try:
    raise OSError(sys.argv[1])
except OSError as error:
    structlog.get_logger().warning("problem", reason=sys.argv[1], path=[sys.argv[1]], exc_info=error)
"""


@pytest.mark.parametrize("under_systemd", [False, True])
def test_what_others_wrote_is_seen_in_the_log_and_does_nothing(under_systemd: bool) -> None:
    evil = EVIL.replace("\x00", "")
    told = subprocess.run(
        [sys.executable, "-c", LOGGED, evil], env={"INVOCATION_ID": "1"} if under_systemd else {},
        capture_output=True, check=True,
    ).stderr.decode()  # fmt: skip
    assert "problem" in told
    assert unseen(told) == []
    if under_systemd:
        assert json.loads(told)["reason"] == evil
