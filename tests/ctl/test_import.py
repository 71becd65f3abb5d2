"""import: the predecessor's results, through a daemon or without one."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from predecessor_results import RESULTS

Invoke = Callable[..., Result]
ANSWER = {
    "run": 3, "rows": 4, "measured": 2, "failed": 1, "predicted": 1, "recommended": 1, "feasible": True,
    "warnings": ["no column backup"],
}  # fmt: skip


@pytest.fixture
def results(tmp_path: Path) -> Path:
    path = tmp_path / "data_storage_20250101.csv"
    path.write_text(RESULTS)
    return path


def test_without_a_daemon_the_results_are_imported_here_and_every_command_calls_them_so(
    invoke: Invoke, results: Path, tmp_path: Path
) -> None:
    (tmp_path / "old.toml").write_text("ttft_slo = 1.0\n")
    result = invoke("import", str(results), "-e", "vllm", "-c", "old.toml", "--name", "last winter")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"run 1 imported from {results}: 4 rows, 2 measured, 1 failed, 1 predicted\n"
    assert "1500 tok/s (imported)" in invoke("runs").stdout
    shown = invoke("show").stdout
    assert "1 (last winter)" in shown
    assert f"imported from {results}" in shown
    assert f"4 rows of {results}, 2 measured, 1 failed, 1 rejected" in shown
    best = invoke("best").stdout
    assert best.startswith(f"IMPORTED from {results}:2: not measured here.")
    assert "# imported: the file does not contain the command; its parameters:" in best
    assert "MAX_NUM_SEQS=64" in best
    rows = list(csv.DictReader(io.StringIO(invoke("export").stdout)))
    assert [row["source"] for row in rows] == ["imported"] * 4
    assert [row["real_evaluation"] for row in rows] == ["true", "true", "true", "false"]
    assert f"particle 3 imported from {results}:4: Service start failed, see log" in invoke("events").stdout
    assert invoke("journal", "verify").exit_code == 0


def test_the_same_file_is_refused_the_second_time_unless_it_is_forced(
    invoke: Invoke, results: Path, state: Path
) -> None:
    assert invoke("import", str(results)).exit_code == 0
    before = (state / "journal.db").read_bytes()
    again = invoke("import", str(results))
    assert again.exit_code == 10
    assert "was imported already: run 1" in again.stderr
    assert "--force" in again.stderr
    assert (state / "journal.db").read_bytes() == before
    forced = invoke("import", str(results), "--force", "--json")
    assert json.loads(forced.stdout)["run"] == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a,b\n1,2\n", ":1: no column generate_speed"),
        (b"generate_speed,A,error\n1,2,\nx,3,\n", ":3: generate_speed 'x' is not a number"),
        (b"generate_speed,A,error\n1,2,\n1,\xff,\n", ":3: is not UTF-8 text"),
    ],
)
def test_a_bad_file_is_told_with_its_line_and_nothing_is_made(
    invoke: Invoke, tmp_path: Path, state: Path, content: bytes, said: str
) -> None:
    (tmp_path / "bad.csv").write_bytes(content)
    result = invoke("import", "bad.csv")
    assert result.exit_code == 3
    assert said in result.stderr
    assert result.stdout == ""
    assert not state.exists()


def test_a_file_or_a_configuration_that_is_not_there_is_named(invoke: Invoke, results: Path, state: Path) -> None:
    assert "nowhere.csv: cannot be read" in invoke("import", "nowhere.csv").stderr
    absent = invoke("import", str(results), "-c", "nowhere.toml")
    assert absent.exit_code == 3
    assert "nowhere.toml: cannot be read" in absent.stderr
    assert not state.exists()


def test_a_daemon_is_sent_the_whole_file_and_its_answer_is_shown(
    invoke: Invoke, daemon: Callable[..., Any], results: Path, tmp_path: Path
) -> None:
    answering = daemon()
    answering.answers["POST /v1/import"] = (201, ANSWER)
    (tmp_path / "old.toml").write_text("ttft_slo = 1.0\n")
    result = invoke("import", str(results), "-e", "vllm", "-c", "old.toml", "--force")
    assert result.exit_code == 0, result.output
    assert "run 3 imported" in result.stdout
    assert "warning: no column backup" in result.stderr
    (body,) = [body for request, body in answering.requests if request == "POST /v1/import"]
    assert (body["file"], body["content"], body["engine"], body["force"]) == (str(results), RESULTS, "vllm", True)
    assert body["configuration_text"] == "ttft_slo = 1.0\n"
    assert body["working_directory"] == str(tmp_path)
    assert json.loads(invoke("import", str(results), "--json").stdout) == ANSWER


def test_what_the_daemon_refuses_keeps_its_words_and_its_exit_code(
    invoke: Invoke, daemon: Callable[..., Any], results: Path
) -> None:
    answering = daemon()
    error = {"message": "imported already: run 1", "hint": "--force", "exit_code": 10}
    answering.answers["POST /v1/import"] = (409, {"error": error})
    result = invoke("import", str(results))
    assert result.exit_code == 10
    assert "error: imported already: run 1" in result.stderr


@pytest.mark.parametrize(
    ("load", "shown"), [("?", "CONCURRENCY ?"), ("32", "CONCURRENCY 32"), ("auto", "CONCURRENCY auto")]
)
def test_the_load_of_an_imported_result_is_shown_whatever_its_cell_holds(
    invoke: Invoke, tmp_path: Path, load: str, shown: str
) -> None:
    (tmp_path / "old.csv").write_text(f"generate_speed,success_rate,A,CONCURRENCY,error\n10,1,1,{load},\n")
    assert invoke("import", "old.csv").exit_code == 0
    best = invoke("best")
    assert best.exit_code == 0, best.output
    assert f"To deploy it, for a load up to {shown}:" in best.stdout
