"""A bounded share of tests/bench/endurance.py, which `make chaos` runs in full."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from patience import HANG

COMMAND = Path(__file__).parents[1] / "bench" / "endurance.py"


def test_nothing_grows_without_a_bound_over_events_evaluations_and_followers() -> None:
    share = ("--events", "4000", "--pso", "40", "--swarm", "24", "--followed", "1200")
    ended = subprocess.run(
        [sys.executable, str(COMMAND), *share, "--json"], capture_output=True, text=True, timeout=4 * HANG, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    figures = json.loads(ended.stdout)
    assert figures["wrong"] == []
    assert [each["events"] for each in figures["events"]] == [10, 400, 4000]
    assert (figures["pso"]["evaluations"], figures["swarm"]["evaluations"]) == (40, 24)
    assert all(len(figures[name]["seconds"]) == len(figures[name]["memory_kib"]) == 8 for name in ("pso", "swarm"))
    assert [each["one_does_not_read"] for each in figures["followers"]] == [False, True]
    assert all(each["least_seen"] >= 1200 and each["missing"] == 0 for each in figures["followers"])
