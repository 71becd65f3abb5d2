"""A client that exits 0 may still lie. Each lie ends in a row with a reason, never in a measured value."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from serviceopt_journal import events as e
from serviceopt_journal.codec import Recorded
from stubs.scenario import assert_sound, of_type, standalone, stub_run

LIES = {
    "all-failed": "no request|completed|every request",
    "nan": "not a number|nan|finite",
    "none": "no result|not there|wrote no",
    "pipe": "is a pipe, and not a file",
    "other": "another|num_prompts|differs",
    "half-a-file": "JSON|read",
    "zero-latency": "0",
    "exit-7": "7",
    "one-piece": "one piece",
    "elsewhere": "the service itself finished 0: another server",
    "nearly-elsewhere": "the service itself finished 1: another server",
}
"""Lie -> what its reason must speak of (a regular expression). The first is told at concurrency 1, and so on."""
PARTLY, HONEST = len(LIES) + 1, len(LIES) + 2
"""The concurrency at which a third of the requests fail, and the one of the truth."""

Run = tuple[Any, list[Recorded], dict[str, dict[str, str]]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run over every concurrency up to that of the truth, on one service that counts what it finishes."""
    lies = ",".join(f"{load}={lie}" for load, lie in enumerate([*LIES, "some-failed"], start=1))
    configuration = stub_run(
        tmp_path_factory.mktemp("lies"), n_particles=HONEST, iters=1, searched=["CONCURRENCY"],
        service="--stub-metrics real", client=f"--stub-lies {lies}",
    )  # fmt: skip
    text = configuration.read_text().replace("max = 64\nvalue = 8", f"max = {HONEST}\nvalue = {HONEST}")
    configuration.write_text(text)
    ended, recorded, rows = standalone(configuration)
    return ended, recorded, {row["CONCURRENCY"]: row for row in rows}


@pytest.mark.parametrize("lie", LIES)
def test_a_result_that_lies_is_a_failure_with_a_reason(run: Run, lie: str) -> None:
    _, recorded, rows = run
    row = rows[str(list(LIES).index(lie) + 1)]
    assert re.search(LIES[lie], row["error"], re.IGNORECASE), row["error"]
    assert row["feasible"] == "false"
    assert row["repeats"] == "0"
    (failed,) = [event for event in of_type(recorded, e.MeasurementFailed) if str(event.particle) == row["particle"]]
    assert failed.reason == row["error"]
    assert not failed.will_retry


def test_a_partly_failed_measurement_counts_with_its_success_rate_and_says_so(run: Run) -> None:
    _, _, rows = run
    assert float(rows[str(PARTLY)]["success_rate"]) == pytest.approx(16 / 24)
    assert rows[str(PARTLY)]["error"] == "8 of 24 requests failed"
    assert rows[str(PARTLY)]["feasible"] == "false"
    assert "success rate" in rows[str(PARTLY)]["violated"]


def test_only_the_honest_result_is_recommended(run: Run) -> None:
    ended, recorded, rows = run
    assert ended.returncode == 0, ended.stderr
    assert len(rows) == HONEST
    assert rows[str(HONEST)]["error"] == ""
    assert [row["CONCURRENCY"] for row in rows.values() if row["feasible"] == "true"] == [str(HONEST)]
    assert min(rows.values(), key=lambda row: float(row["fitness"])) == rows[str(HONEST)]
    (finished,) = of_type(recorded, e.RunFinished)
    assert str(finished.recommended) == rows[str(HONEST)]["particle"]
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
