"""The daemon dies right before or right after it has said that a measurement was ended early."""

from __future__ import annotations

from pathlib import Path

import pytest

from crash.test_between_spawn_and_commit import die, go_on
from serviceopt_journal import events as e
from stubs.scenario import assert_sound, of_type, records, stub_run, verified

EARLY = """
[search]
strategy = "random"
[early_stopping]
interval = 0.03
"""


@pytest.mark.parametrize("boundary", ["--before", "--after"])
def test_a_decision_counts_from_its_commit_on_and_is_made_again_otherwise(tmp_path: Path, boundary: str) -> None:
    configuration, state = configured(tmp_path), tmp_path / "state"
    die(configuration, state, boundary, "measurement_rejected")
    before = of_type(records(state), e.MeasurementRejected)
    assert len(before) == (boundary == "--after")

    finished = go_on(configuration, state)

    assert of_type(finished, e.RunFinished)
    ended = of_type(finished, e.MeasurementFinished, e.MeasurementRejected)
    assert [event.particle for event in ended] == [1, 2, 3, 4, 5, 6]
    assert of_type(finished, e.MeasurementRejected)[: len(before)] == before
    if boundary == "--before":
        first = of_type(finished, e.MeasurementRejected)[0]
        assert first.attempt == 2, "the measurement in flight was to be repeated"
    assert_sound(finished)
    verified(tmp_path)


def configured(directory: Path) -> Path:
    """Six loads on one service; the limit allows 30 requests in flight of at most 64."""
    file = stub_run(
        directory, searched=("CONCURRENCY",), service="--stub-metrics real", client="--stub-paced --stub-faster 4",
        top="budget = 6",
    )  # fmt: skip
    text = file.read_text().replace("num_prompts = 24", "num_prompts = 240").replace("min = 1\n", "min = 6\n")
    file.write_text(text.replace("tpot_slo = 0.05", "tpot_slo = 0.0125") + EARLY)
    return file
