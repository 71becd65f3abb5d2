"""Whatever a client leaves where its result should be: a reason at once, and no more memory than a result may have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ais_bench_files import a_result
from contract.vllm import a_client as a_vllm_benchmark
from contract.vllm import an_order
from daemon.benchmarks.ais_bench.test_ais_bench_result import outcome_of, work_of
from daemon.benchmarks.guidellm.test_guidellm import a_client as a_guidellm
from daemon.benchmarks.test_command import a_client as a_command
from hostile_files import HOSTILE
from journal.test_foreign_files import bounded
from serviceopt_journal.foreign_files import MIB
from serviceoptd.benchmarks.ais_bench.requests import latencies_in
from serviceoptd.benchmarks.interface import Benchmark, ClientOutcome
from serviceoptd.benchmarks.result_checks import telling_line
from serviceoptd.contract.orders import an_outcome
from serviceoptd.toolkit.interface import UnusableResult

Left = tuple[Benchmark, ClientOutcome, Path]


def _by_plan(client: Any) -> Callable[[Path], Left]:
    def left(tmp_path: Path) -> Left:
        outcome = an_outcome(client, an_order(tmp_path))
        (path,) = (outcome.plan.artefacts or {}).values()
        return client, outcome, path

    return left


def _of_ais_bench(suffix: str) -> Callable[[Path], Left]:
    def left(tmp_path: Path) -> Left:
        client, outcome = outcome_of(tmp_path)
        path = a_result(work_of(outcome)) / f"synthetic.{suffix}"
        path.unlink()
        return client, outcome, path

    return left


RESULTS: Mapping[str, Callable[[Path], Left]] = {
    "vllm_benchmark": _by_plan(a_vllm_benchmark()),
    "guidellm": _by_plan(a_guidellm()),
    "command": _by_plan(a_command()),
    "ais_bench, table": _of_ais_bench("csv"),
    "ais_bench, summary": _of_ais_bench("json"),
}


@pytest.mark.parametrize("result", RESULTS)
@pytest.mark.parametrize("what", HOSTILE)
def test_a_result_that_is_no_file_is_unusable_at_once(tmp_path: Path, what: str, result: str) -> None:
    client, outcome, path = RESULTS[result](tmp_path)
    HOSTILE[what](path)
    why = "wrote no result" if what == "nothing" else "is a|larger than|cannot be read"
    with bounded(16 * MIB), pytest.raises(UnusableResult, match=why):
        client.read(outcome)


@pytest.mark.parametrize("what", HOSTILE)
def test_an_output_that_is_no_file_tells_nothing(tmp_path: Path, what: str) -> None:
    HOSTILE[what](tmp_path / "client.log")
    with bounded(16 * MIB):
        told = telling_line(tmp_path / "client.log")
    assert set(told) <= {"x"}


@pytest.mark.parametrize("name", ["synthetic_details.jsonl", "db_data/times.db"])
@pytest.mark.parametrize("what", HOSTILE)
def test_details_that_are_no_files_tell_no_single_requests(tmp_path: Path, what: str, name: str) -> None:
    line = '{"success": true, "db_name": "times.db", "time_points": {"__db_ref__": 1}, "output_tokens": 2}\n'
    (tmp_path / "db_data").mkdir()
    if "details" not in name:
        (tmp_path / "synthetic_details.jsonl").write_text(line)
    HOSTILE[what](tmp_path / name)
    with bounded(16 * MIB):
        assert latencies_in(tmp_path / "synthetic.csv", completed=1) == {}
