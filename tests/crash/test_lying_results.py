"""A client that exits 0 may still lie. Each lie ends in a row with a reason, never in a measured value."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from serviceopt_journal import events as e
from stubs.scenario import assert_sound, of_type, standalone, stub_run

LIES = {
    "all-failed": "no request|completed|every request",
    "nan": "not a number|nan|finite",
    "none": "no result|not there|wrote no",
    "stale": "older|before|another measurement",
    "other": "another|num_prompts|differs",
    "half-a-file": "JSON|read",
    "zero-latency": "0",
    "exit-7": "7",
}
"""Lie -> what its reason must speak of (a regular expression)."""


@pytest.mark.parametrize("lie", LIES)
def test_a_result_that_lies_is_a_failure_with_a_reason(tmp_path: Path, lie: str) -> None:
    configuration = stub_run(
        tmp_path, n_particles=3, iters=1, searched=["CONCURRENCY"],
        client=f"--stub-lie {lie} --stub-when max-concurrency=8",
    )  # fmt: skip

    ended, recorded, rows = standalone(configuration)

    assert ended.returncode == 0, ended.stderr  # the other loads were measured: the run is completed and feasible
    (lied,) = [row for row in rows if row["CONCURRENCY"] == "8"]
    honest = [row for row in rows if row["CONCURRENCY"] != "8"]
    assert re.search(LIES[lie], lied["error"], re.IGNORECASE), lied["error"]
    assert lied["feasible"] == "false"
    assert len(honest) == 2
    assert [row["error"] for row in honest] == ["", ""]
    assert all(float(lied["fitness"]) > float(row["fitness"]) for row in honest)
    (finished,) = of_type(recorded, e.RunFinished)
    assert finished.recommended != int(lied["particle"])
    assert_sound(recorded)


def test_a_partly_failed_measurement_counts_with_its_success_rate_and_says_so(tmp_path: Path) -> None:
    configuration = stub_run(
        tmp_path, n_particles=3, iters=1, searched=["CONCURRENCY"],
        client="--stub-lie some-failed --stub-when max-concurrency=8",
    )  # fmt: skip

    _, recorded, rows = standalone(configuration)

    (partly,) = [row for row in rows if row["CONCURRENCY"] == "8"]
    assert float(partly["success_rate"]) == pytest.approx(16 / 24)
    assert "8 of 24" in partly["error"]
    assert partly["feasible"] == "false"
    assert "success rate" in partly["violated"]
    assert_sound(recorded)


def test_a_run_in_which_every_result_lies_ends_as_failed_with_a_reason_in_each_row(tmp_path: Path) -> None:
    configuration = stub_run(tmp_path, n_particles=2, iters=1, searched=["CONCURRENCY"], client="--stub-lie all-failed")

    ended, recorded, rows = standalone(configuration)

    assert ended.returncode == 12
    assert len(rows) == 2
    assert all(row["error"] for row in rows)
    (finished,) = of_type(recorded, e.RunFinished)
    assert finished.outcome == "failed"
    assert finished.recommended is None
