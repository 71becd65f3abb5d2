"""Real daemons are killed at random moments, beside a full disk and a clock that is set: a share of `make chaos`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

CHAOS = Path(__file__).with_name("chaos.py")
KILLS = 12


def test_a_run_whose_daemons_were_killed_at_random_ends_as_if_nothing_had_happened() -> None:
    ended = subprocess.run(
        [sys.executable, CHAOS, "--kills", str(KILLS), "--iterations", "1", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    told = json.loads(ended.stdout)
    assert sum(told["kills"].values()) >= KILLS
    assert told["counts"]["runs with swarm"] == told["counts"]["runs with pso"] >= 1
    assert told["counts"]["bystanders"] == told["counts"]["runs"]
    assert told["counts"]["measurements"] > 20
    assert told["broken"] == []
