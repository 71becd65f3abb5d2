"""export: CSV in the specification's columns, JSON, every event, and salvage."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from click.testing import Result
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import Story, a_finished_story, a_journal, an_unfinished_story, some_metrics, some_settings
from serviceopt_journal import events as e
from serviceopt_journal.documents.runs import Table
from serviceopt_journal.unseen import visible
from serviceoptctl import exporting
from serviceoptd.domain.settings import Field
from serviceoptd.domain.table import FORMULA_STARTS

Invoke = Callable[..., Result]
SPECIFIED = (
    ["generate_speed", "time_to_first_token", "time_per_output_token", "success_rate", "throughput"],
    ["error", "backup", "duration", "real_evaluation", "fitness", "num_prompts"],
)


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_the_csv_has_the_specified_columns_in_order_and_a_row_for_every_parameter_set(
    invoke: Invoke, state: Path
) -> None:
    a_journal(state)
    text = invoke("export").stdout
    header = text.splitlines()[0].split(",")
    fields = ["MAX_NUM_SEQS", "CONCURRENCY"]
    assert header[: len(SPECIFIED[0]) + 2 + len(SPECIFIED[1])] == [*SPECIFIED[0], *fields, *SPECIFIED[1]]
    rows = table(text)
    assert [row["particle"] for row in rows] == ["1", "2", "3", "4", "6"]  # 5 took the result of 4
    assert [row["generate_speed"] for row in rows] == ["900.0", "", "1500.0", "1234.5", "700.0"]
    assert [row["real_evaluation"] for row in rows] == ["true", "true", "true", "true", "false"]
    assert [bool(row["error"]) for row in rows] == [False, True, False, False, True]
    assert [row["source"] for row in rows] == ["measured", "measured", "measured", "measured", "predicted"]
    best = min(rows, key=lambda row: float(row["fitness"]))
    assert best["particle"] == "4"


def test_simulated_rows_are_never_real_evaluations(invoke: Invoke, state: Path) -> None:
    a_journal(state, a_finished_story(Story(simulated=True)))
    assert {row["real_evaluation"] for row in table(invoke("export").stdout)} == {"false"}


def test_without_a_run_the_latest_is_exported_and_all_of_them_with_all(invoke: Invoke, state: Path) -> None:
    a_journal(state, a_finished_story(), an_unfinished_story(Story(run=2)))
    assert {row["run"] for row in table(invoke("export").stdout)} == {"2"}
    assert {row["run"] for row in table(invoke("export", "1").stdout)} == {"1"}
    assert {row["run"] for row in table(invoke("export", "--all").stdout)} == {"1", "2"}
    assert invoke("export", "1", "--all").exit_code == 2


def test_runs_with_different_fields_share_one_table(invoke: Invoke, state: Path) -> None:
    other = (Field(name="BLOCK_SIZE", dtype="int", min=8, max=64, value=16),)
    story = Story(run=2, settings=some_settings(fields=other))

    def told() -> Iterator[e.Event]:
        yield from story.submitted()
        yield from story.measured(some_metrics(), BLOCK_SIZE=16)
        yield from story.finished(recommended=1, feasible=True)

    a_journal(state, a_finished_story(), told())
    text = invoke("export", "--all").stdout
    header = text.splitlines()[0].split(",")
    at = header.index("error")
    assert header[:at] == [*SPECIFIED[0], "MAX_NUM_SEQS", "CONCURRENCY", "BLOCK_SIZE"]
    rows = table(text)
    assert (rows[0]["BLOCK_SIZE"], rows[-1]["BLOCK_SIZE"], rows[-1]["MAX_NUM_SEQS"]) == ("", "16", "")
    assert None not in rows[0]


def test_a_file_is_written_by_the_caller_and_named(invoke: Invoke, state: Path, tmp_path: Path) -> None:
    a_journal(state)
    result = invoke("export", "-o", "out.csv")
    assert result.stdout == ""
    assert result.stderr == "5 rows written to out.csv\n"
    assert (tmp_path / "out.csv").read_text() == invoke("export").stdout


def test_a_file_that_cannot_be_written_is_one_clear_error(invoke: Invoke, state: Path, tmp_path: Path) -> None:
    a_journal(state)
    result = invoke("export", "-o", str(tmp_path / "absent" / "out.csv"))
    assert result.exit_code == 4
    assert result.stderr == f"error: {tmp_path}/absent/out.csv: cannot be written: no such file or directory\n"


def test_a_name_or_reason_that_a_spreadsheet_would_execute_is_defused(invoke: Invoke, state: Path) -> None:
    evil = '=HYPERLINK("http://evil","x")'
    fields = (Field(name="@SUM(A1)", dtype="int", min=1, max=9, value=1),)
    story = Story(settings=some_settings(fields=fields))

    def told() -> Iterator[e.Event]:
        yield from story.submitted()
        yield from story.failed(evil, **{"@SUM(A1)": 1})
        yield from story.finished("failed")

    a_journal(state, told())
    text = invoke("export").stdout
    assert [row["error"] for row in table(text)] == ["'" + evil]
    assert "'@SUM(A1)" in text.splitlines()[0]


@given(st.lists(st.dictionaries(st.sampled_from(["a", "b"]), st.none() | st.booleans() | st.text() | st.integers())))
@settings(deadline=None)
def test_no_text_cell_starts_like_a_formula_and_every_row_can_be_read_back(rows: list[dict[str, Any]]) -> None:
    stream = io.StringIO(newline="")
    exporting.rows(Table(columns=("a", "b"), rows=tuple(rows)), stream, as_json=False)
    read = list(csv.reader(io.StringIO(stream.getvalue(), newline="")))
    assert len(read) == len(rows) + 1
    for row, cells in zip(rows, read[1:], strict=True):
        for name, cell in zip(("a", "b"), cells, strict=True):
            if isinstance(row.get(name), str):
                assert not cell.startswith(FORMULA_STARTS)
                assert cell.removeprefix("'") == visible(row[name]).removeprefix("'")


def test_results_as_json_are_the_columns_and_the_rows(invoke: Invoke, state: Path) -> None:
    a_journal(state, a_finished_story(Story(name="调优")))
    document = json.loads(invoke("export", "--json").stdout)
    assert list(document["rows"][0]) == document["columns"]
    assert [row["particle"] for row in document["rows"]] == [1, 2, 3, 4, 6]


def test_every_event_is_exported_with_its_payload(invoke: Invoke, state: Path) -> None:
    a_journal(state, a_finished_story(), an_unfinished_story(Story(run=2)))
    records = [json.loads(line) for line in invoke("export", "--events", "--json").stdout.splitlines()]
    rows = table(invoke("export", "--events").stdout)
    assert list(rows[0]) == ["seq", "time", "type", "run", "particle", "evaluation", "payload"]
    assert [int(row["seq"]) for row in rows] == [record["seq"] for record in records] == list(range(1, len(rows) + 1))
    for row, record in zip(rows, records, strict=True):
        assert {"type": row["type"], **json.loads(row["payload"])} == record["event"]
    assert {row["run"] for row in table(invoke("export", "2", "--events").stdout)} == {"2"}


def test_what_precedes_the_damage_can_be_salvaged(invoke: Invoke, state: Path) -> None:
    a_journal(state)
    whole = invoke("export", "--events").stdout.splitlines()
    with sqlite3.connect(state / "journal.db") as database:
        for (trigger,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            database.execute(f"DROP TRIGGER {trigger}")
        database.execute("UPDATE event SET body = 'garbage' WHERE seq = 30")
    database.close()

    verified = invoke("journal", "verify")
    assert verified.exit_code == 6
    assert "event 30" in verified.stdout
    salvaged = invoke("export", "--events", "--until", "29")
    assert salvaged.exit_code == 0
    assert salvaged.stdout.splitlines() == whole[:30]
    assert [row["particle"] for row in table(invoke("export", "--until", "29").stdout)] == ["1", "2", "3"]
    assert invoke("export", "--events").exit_code == 6
