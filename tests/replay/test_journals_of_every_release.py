"""The journal of every release is read for ever, and tells the same."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from replay.make_journal import told
from serviceopt_journal import events as e
from serviceopt_journal.codec import Recorded
from serviceopt_journal.reader import JournalReader
from serviceopt_journal.store import Journal
from serviceopt_journal.verification import verify

RELEASES = sorted(Path(__file__).with_name("journals").iterdir())


@pytest.fixture(params=RELEASES, ids=lambda release: release.name)
def release(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy: nothing may change what a release wrote."""
    copy = tmp_path / "state"
    shutil.copytree(request.param, copy)
    return copy


DURATIONS = ("seconds", "duration")
BETWEEN_TWO_READINGS = 1e-3
"""Seconds. Durations were told by the wall clock, and are by the monotonic one, which is read a moment later."""


def alike(found: Any, expected: Any, key: str = "") -> bool:
    """Equal, numbers within rounding: another processor's logarithm may differ in the last digit."""
    if isinstance(expected, dict):
        # A later release may add to a document, never take away.
        return isinstance(found, dict) and all(
            key in found and alike(found[key], expected[key], key) for key in expected
        )
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(alike, found, expected))
    if isinstance(expected, float):
        room = BETWEEN_TWO_READINGS if key in DURATIONS else 1e-12
        return bool(found == pytest.approx(expected, rel=1e-9, abs=room))
    return bool(found == expected)


def number(cell: str) -> float | str:
    try:
        return float(cell)
    except ValueError:
        return cell


def replayed(release: Path) -> list[Recorded]:
    return list(JournalReader.open(release).events())


def test_it_verifies(release: Path) -> None:
    report = verify(release)
    assert report.problems == []
    assert report.events > 100


def test_it_gives_the_same_recommendation(release: Path) -> None:
    _, _, recommendation = told(replayed(release))
    assert alike(recommendation, json.loads((release / "recommendation.json").read_text()))


def test_it_gives_the_same_rows(release: Path) -> None:
    with (release / "rows.csv").open(newline="") as file:
        header, *expected = list(csv.reader(file))
    columns, rows, _ = told(replayed(release))
    kept = [columns.index(name) for name in header]  # a later release may add columns, after these
    assert kept == list(range(len(header)))
    found = [{columns[index]: number(row[index]) for index in kept} for row in rows]
    assert alike(found, [dict(zip(header, map(number, row), strict=True)) for row in expected])


def test_it_holds_what_makes_replay_hard(release: Path) -> None:
    kinds = {type(record.event) for record in replayed(release)}
    assert {e.EvaluationInterrupted, e.ParticleMatched, e.MeasurementFailed, e.ServiceFailed, e.RunFinished} <= kinds


def test_a_daemon_of_this_release_writes_on(release: Path) -> None:
    before = replayed(release)
    journal = Journal.open(release)
    journal.append(e.DaemonStarted(version="next", pid=1, host="example-host", python="3"))
    journal.close()
    assert replayed(release)[:-1] == before
    assert verify(release).problems == []
