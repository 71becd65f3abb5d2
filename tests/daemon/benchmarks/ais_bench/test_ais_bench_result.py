from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ais_bench_files import a_config_directory, a_result, requests_beside, summary, table
from serviceopt_journal.metrics import Metrics
from serviceoptd.benchmarks.ais_bench.client import WORK, AisBench
from serviceoptd.benchmarks.ais_bench.result import metrics_of
from serviceoptd.benchmarks.interface import ClientOutcome
from serviceoptd.contract.orders import a_measurement_order, a_workplace, an_outcome
from serviceoptd.domain.settings import Objective, Slo
from serviceoptd.toolkit.interface import UnusableResult


def outcome_of(tmp_path: Path, *, exit_status: int = 0, output: str = "", objective: Objective | None = None) -> Any:
    place = a_workplace(tmp_path)
    a_config_directory(place.working_directory / "configs")
    client = AisBench({"command": {"models": "chat", "datasets": "synthetic", "num_prompts": 50}})
    order = a_measurement_order(place, {"CONCURRENCY": 16}, objective=objective)
    return client, an_outcome(client, order, exit_status=exit_status, output=output)


def work_of(outcome: ClientOutcome) -> Path:
    return outcome.order.workplace.directory / WORK


def read(tmp_path: Path, *, objective: Objective | None = None, **result: str) -> Metrics:
    client, outcome = outcome_of(tmp_path, objective=objective)
    a_result(work_of(outcome), **result)
    metrics: Metrics = client.read(outcome)
    return metrics


def test_every_unit_and_statistic_is_read() -> None:
    metrics = metrics_of(table(), summary())
    assert metrics.ttft == {
        "mean": 0.15, "min": 0.024, "max": pytest.approx(0.3032), "p50": 0.16, "p75": 0.24, "p90": 0.2545,
        "p99": pytest.approx(0.3022),
    }  # fmt: skip
    assert (metrics.itl["max"], metrics.itl["p90"]) == (0.2, pytest.approx(0.0076))
    assert metrics.tpot["p50"] == pytest.approx(0.0045)
    assert metrics.e2el["mean"] == pytest.approx(0.3105)
    assert (metrics.duration, metrics.throughput) == (1.5, pytest.approx(50 / 1.5, abs=1e-3))
    assert metrics.generate_speed == pytest.approx(1600 / 1.5, abs=1e-3)
    assert (metrics.completed, metrics.failed, metrics.input_tokens, metrics.output_tokens) == (50, 0, 3650, 1600)


def test_the_documentations_name_of_the_generated_tokens_is_understood() -> None:
    assert metrics_of(table(), summary(Total_Generated_Tokens=None, Total_Output_Tokens=1600)).output_tokens == 1600
    assert metrics_of(table(), summary(Total_Generated_Tokens=None)).output_tokens is None


def test_seconds_and_plain_values_are_understood(tmp_path: Path) -> None:
    told = {name: value["total"] for name, value in json.loads(summary(Benchmark_Duration="1.5 s")).items()}
    assert read(tmp_path, told=json.dumps(told)).duration == 1.5


def test_failed_requests_count_against_the_success_rate(tmp_path: Path) -> None:
    metrics = read(tmp_path, csv=table(31), told=summary(failed=19))
    assert (metrics.completed, metrics.failed, metrics.success_rate) == (31, 19, 0.62)


def test_answers_in_one_piece_have_no_time_to_first_token(tmp_path: Path) -> None:
    rows = table().splitlines()
    told = [rows[0], rows[1], rows[1].replace("E2EL", "TTFT"), *rows[5:]]
    assert read(tmp_path, csv="\n".join(told)).ttft == {}


LIES: list[tuple[str, dict[str, str], str]] = [
    ("every request failed", {"told": summary(failed=50)}, "none of 50 requests completed"),
    ("the counts do not add up", {"told": summary(Success_Requests=49)}, "do not add up: 49 completed"),
    ("nothing was sent", {"told": summary(sent=0)}, "do not add up"),
    ("half a request", {"told": summary(Total_Requests=50.5, Success_Requests=50.5)}, "do not add up"),
    ("fewer than asked for", {"told": summary(sent=40)}, "40 requests were sent, expected 50"),
    ("more than asked for", {"told": summary(sent=60)}, "another measurement: it counts 60"),
    ("another concurrency", {"told": summary(at_a_time=8)}, "another measurement: at most 8 requests at a time"),
    ("not a number", {"told": summary(Request_Throughput="nan req/s")}, "Request Throughput is nan"),
    ("not a latency", {"csv": table().replace("150.0 ms", "nan ms")}, "TTFT Average is nan ms"),
    ("a latency without unit", {"csv": table().replace("150.0 ms", "150.0")}, "TTFT Average is '150.0', with no unit"),
    ("an unknown unit", {"told": summary(Benchmark_Duration="3 fortnights")}, "Benchmark Duration is '3 fortnights'"),
    ("an empty cell", {"csv": table().replace("150.0 ms", "")}, "TTFT Average is '', not a number"),
    ("a missing row", {"csv": table().replace("TTFT", "XXXX")}, "no row TTFT"),
    ("a short row", {"csv": table().split("24.0 ms")[0]}, "TTFT Min is ''"),
    ("no row at all", {"csv": table().splitlines()[0]}, "the table has no row, not `total`"),
    ("another stage", {"csv": table().replace("total", "stable")}, "only the stages stable"),
    ("a missing count", {"told": summary(Failed_Requests=None)}, "the result has no Failed Requests"),
    ("a missing rate", {"told": summary(Output_Token_Throughput=None)}, "the result has no Output Token Throughput"),
    ("no token", {"told": summary(Output_Token_Throughput="0.0 token/s")}, "no token was generated"),
    ("half a file", {"told": summary()[:200]}, "is not valid JSON"),
    ("another document", {"told": "[]"}, "not a JSON object"),
]


@pytest.mark.parametrize(("result", "said"), [lie[1:] for lie in LIES], ids=[lie[0] for lie in LIES])
def test_a_result_that_lies_is_not_believed(tmp_path: Path, result: dict[str, str], said: str) -> None:
    with pytest.raises(UnusableResult) as error:
        read(tmp_path, **result)
    assert said in error.value.message


def test_a_statistic_that_aisbench_does_not_report_is_missed(tmp_path: Path) -> None:
    with pytest.raises(UnusableResult, match="lacks what the objective needs: p95"):
        read(tmp_path, objective=Objective(slos=(Slo(metric="ttft", statistic="p95", limit=1),)))


def test_each_turn_of_a_conversation_is_a_request(tmp_path: Path) -> None:
    client, outcome = outcome_of(tmp_path)
    place = a_result(work_of(outcome), told=summary(sent=120), csv=table(120))
    details = place / "synthetic_details.jsonl"
    details.write_text("".join(f'{{"id": {turn % 50}, "turn_id": {turn // 50}}}\n' for turn in range(120)))
    assert client.read(outcome).completed == 120
    details.write_text("".join(f'{{"id": {number}}}\n' for number in range(120)))
    with pytest.raises(UnusableResult, match="it counts 120 requests"):
        client.read(outcome)
    details.write_text("half a li")
    with pytest.raises(UnusableResult, match="it counts 120 requests"):
        client.read(outcome)


REQUESTS = [(10.0 + 0.1 * number, 10.3 + 0.1 * number, 12.3 + 0.1 * number, 21) for number in range(49)]
P90 = Objective(slos=(Slo(metric="ttft", statistic="p90", limit=0.4), Slo(metric="tpot", statistic="p99", limit=0.2)))


def test_a_confirmation_knows_the_percentiles_of_single_requests(tmp_path: Path) -> None:
    client, outcome = outcome_of(tmp_path, objective=P90)
    requests_beside(a_result(work_of(outcome)), [*REQUESTS, (9.0, 9.5, 9.5, 1)])
    assert client.read(outcome).tails == {}
    found = client.read(replace(outcome, order=replace(outcome.order, details=True))).tails
    assert set(found) == {"ttft p90", "tpot p99"}
    assert (found["ttft p90"].requests, found["ttft p90"].above) == (50, 1)
    assert (found["tpot p99"].requests, found["tpot p99"].above) == (49, 0), "one token has no time per token"


def test_without_whole_details_the_percentiles_of_the_table_are_all_there_is(tmp_path: Path) -> None:
    client, outcome = outcome_of(tmp_path, objective=P90)
    place = a_result(work_of(outcome))
    outcome = replace(outcome, order=replace(outcome.order, details=True))
    assert client.read(outcome).tails == {}
    details = requests_beside(place, REQUESTS)
    assert client.read(outcome).tails == {}, "49 requests are not the 50 of the table"
    whole = details.read_text()
    fifty = whole + whole.splitlines()[0] + "\n"
    details.write_text(fifty)
    assert set(client.read(outcome).tails) == {"ttft p90", "tpot p99"}
    for broken in (fifty + "half a li", fifty.replace("0b348d6e", "another"), fifty.replace("output_tokens", "tokens")):
        details.write_text(broken)
        assert client.read(outcome).tails == {}
    details.write_text(fifty)
    (place / "db_data/0b348d6e.db").write_bytes(b"no database")
    assert client.read(outcome).tails == {}


def test_two_runs_in_one_work_directory_are_refused_by_name(tmp_path: Path) -> None:
    client, outcome = outcome_of(tmp_path)
    a_result(work_of(outcome), "20261123_101500")
    a_result(work_of(outcome), "20261123_101600")
    with pytest.raises(UnusableResult, match=r"holds 2 runs \(20261123_101500, 20261123_101600\)"):
        client.read(outcome)


def test_results_of_two_data_sets_are_refused(tmp_path: Path) -> None:
    client, outcome = outcome_of(tmp_path)
    place = a_result(work_of(outcome))
    (place / "gsm8k.csv").write_text(table())
    with pytest.raises(UnusableResult, match="holds 2 results: gsm8k, synthetic"):
        client.read(outcome)


@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_a_file_that_is_missing_is_not_believed(tmp_path: Path, suffix: str) -> None:
    client, outcome = outcome_of(tmp_path)
    file = a_result(work_of(outcome)) / f"synthetic.{suffix}"
    assert client.read(outcome).completed
    file.unlink()
    with pytest.raises(UnusableResult, match="exited 0 and wrote no result"):
        client.read(outcome)


def test_a_failure_names_what_the_tasks_own_log_says_without_colours(tmp_path: Path) -> None:
    said = "\x1b[1m\x1b[31mERROR\x1b[0m task failed, see /x.out\nFileMatchError: \x1b[41mno perf data\x1b[0m"
    client, outcome = outcome_of(tmp_path, exit_status=1, output=said)
    log = work_of(outcome) / "20261123_101500/logs/infer/vllm-api-stream-chat/synthetic.out"
    log.parent.mkdir(parents=True)
    log.write_text("starting\n\x1b[31mRuntimeError: all warmup requests failed: Not Found\x1b[0m\nbye\n")
    with pytest.raises(UnusableResult) as error:
        client.read(outcome)
    assert error.value.message == (
        "the client ended with exit status 1: FileMatchError: no perf data "
        "(its log synthetic.out: RuntimeError: all warmup requests failed: Not Found)"
    )


@given(csv=st.text(max_size=80) | st.just(table()), told=st.text(max_size=80) | st.just(summary()))
def test_no_result_brings_the_reader_down(csv: str, told: str) -> None:
    try:
        metrics = metrics_of(csv, told)
    except UnusableResult:
        return
    assert metrics.completed + metrics.failed > 0
