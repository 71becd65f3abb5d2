from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from journal_builders import a_journal, a_run
from serviceopt_journal.events import MeasurementFinished, RunFinished
from serviceopt_journal.store import Journal
from serviceopt_journal.verification import verify
from serviceopt_journal.views import VIEWS


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """The journal as any tool opens it."""
    a_journal(tmp_path)
    with closing(sqlite3.connect(f"file:{tmp_path}/journal.db?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        yield connection


def rows(connection: sqlite3.Connection, sql: str) -> list[dict[str, object]]:
    return [dict(row) for row in connection.execute(sql)]


def test_runs_shows_every_run_finished_or_not(plain: sqlite3.Connection) -> None:
    first, second = rows(plain, "SELECT * FROM runs ORDER BY run")
    assert (first["run"], first["name"], first["engine"], first["outcome"]) == (1, "run 1", "simulated", "completed")
    assert (first["recommended"], first["feasible"], first["reason"]) == (1, 1, "budget used")
    assert (second["run"], second["outcome"], second["finished"]) == (2, None, None)
    assert second["started"] == 1_750_000_000.25


def test_evaluations_counts_attempts_and_interruptions(plain: sqlite3.Connection) -> None:
    found = rows(plain, "SELECT * FROM evaluations WHERE run = 1 ORDER BY evaluation")
    assert [row["evaluation"] for row in found] == [1, 2, 3]
    assert {(row["attempts"], row["interruptions"], row["waited"], row["error"]) for row in found} == {
        (2, 1, 1.5, "exit status 7")
    }
    assert [row["particle"] for row in found] == [1, 2, 3]


def test_measurements_shows_what_was_measured_failed_and_rejected(plain: sqlite3.Connection) -> None:
    found = rows(plain, "SELECT * FROM measurements WHERE run = 1 AND evaluation = 2 ORDER BY measurement")
    assert [row["outcome"] for row in found] == ["failed", "finished", "rejected"]
    assert [row["error"] for row in found] == ["exit status 7", "", "TTFT above 2 s"]
    assert [row["generate_speed"] for row in found] == [None, 6000.0, None]
    assert (found[1]["time_to_first_token"], found[1]["time_per_output_token"]) == (0.5, 0.03)
    assert {row["concurrency"] for row in found} == {10}
    assert json.loads(str(found[1]["metrics"]))["ttft"]["p99"] == 1.25


def test_rejections_shows_the_rule_and_the_prediction_it_rests_on(plain: sqlite3.Connection) -> None:
    found = rows(plain, "SELECT * FROM rejections WHERE run = 1 ORDER BY seq")
    assert [(row["rule"], row["particle"]) for row in found] == [("slo", 1), ("slo", 2), ("slo", 3), ("memory", 4)]
    assert json.loads(str(found[-1]["metrics"]))["generate_speed"] == 1.0


def test_best_is_the_recommendation_else_the_fastest_measurement(plain: sqlite3.Connection) -> None:
    finished, running = rows(plain, "SELECT * FROM best ORDER BY run")
    assert (finished["run"], finished["particle"], finished["recommended"]) == (1, 1, 1)
    assert (finished["generate_speed"], finished["feasible"]) == (4000.0, 1)
    assert json.loads(str(finished["configuration"])) == {"MAX_NUM_SEQS": 32, "CONCURRENCY": 10}
    assert (running["run"], running["particle"], running["recommended"]) == (2, 2, 0)
    assert running["generate_speed"] == 6000.0


def test_a_recommended_particle_that_was_matched_shows_the_measurement_it_took(tmp_path: Path) -> None:
    events = [
        msgspec.structs.replace(event, recommended=5) if isinstance(event, RunFinished) else event for event in a_run(1)
    ]
    a_journal(tmp_path, events)
    with closing(sqlite3.connect(tmp_path / "journal.db")) as connection:
        sql = "SELECT particle, generate_speed, json_extract(configuration, '$.MAX_NUM_SEQS') FROM best"
        assert connection.execute(sql).fetchall() == [(5, 4000.0, 160)]


def test_views_agree_with_the_events_for_many_runs(tmp_path: Path) -> None:
    speeds = [float(1000 + 37 * number % 501) for number in range(30)]
    runs = [a_run(run, (speeds[run - 1], speeds[-run]), finished=False) for run in range(1, 31)]
    a_journal(tmp_path, *runs)
    best = {
        run: max(event.metrics.generate_speed for event in events if isinstance(event, MeasurementFinished))
        for run, events in enumerate(runs, 1)
    }
    with closing(sqlite3.connect(tmp_path / "journal.db")) as connection:
        assert dict(connection.execute("SELECT run, generate_speed FROM best")) == best
        assert connection.execute("SELECT count(*) FROM measurements").fetchone() == (30 * 2 * 3,)
        assert connection.execute("SELECT count(*) FROM evaluations").fetchone() == (30 * 2,)


def test_a_journal_of_an_older_release_gets_the_views_of_this_one(tmp_path: Path) -> None:
    a_journal(tmp_path)
    with closing(sqlite3.connect(tmp_path / "journal.db")) as connection:
        connection.execute("DROP VIEW best")
        connection.execute("DROP VIEW runs")
        connection.execute("CREATE VIEW runs AS SELECT 1 AS run")
    head = verify(tmp_path).head
    Journal.open(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / "journal.db")) as connection:
        assert connection.execute("SELECT count(*) FROM best").fetchone() == (2,)
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (2,)
        found = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'view'")}
    assert found == set(VIEWS)
    assert verify(tmp_path).head == head
