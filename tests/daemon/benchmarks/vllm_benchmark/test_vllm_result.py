from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.vllm import ALL_FAILED, REAL, SOME_FAILED, a_client, an_order, read
from serviceoptd.benchmarks.vllm_benchmark.client import RESULT
from serviceoptd.benchmarks.vllm_benchmark.result import latencies_of, metrics_of
from serviceoptd.contract.orders import (
    an_outcome,
)
from serviceoptd.domain.settings import Objective, Slo
from serviceoptd.toolkit.interface import UnusableResult


def test_a_real_result_is_read_in_seconds(tmp_path: Path) -> None:
    metrics = read(tmp_path, REAL)
    assert (metrics.completed, metrics.failed, metrics.success_rate) == (50, 0, 1.0)
    assert metrics.generate_speed == pytest.approx(900.91, abs=0.01)
    assert metrics.throughput == pytest.approx(28.153, abs=0.001)
    assert metrics.ttft["mean"] == pytest.approx(0.41146, abs=1e-5)
    assert metrics.ttft["p50"] == pytest.approx(0.24926, abs=1e-5)
    assert metrics.tpot["p99"] == pytest.approx(0.0056223, abs=1e-7)
    assert metrics.e2el["p99"] == pytest.approx(1.0038, abs=1e-4)
    assert set(metrics.tpot) == {"mean", "p50", "p90", "p95", "p99"}
    assert (metrics.input_tokens, metrics.output_tokens, metrics.goodput) == (3206, 1600, None)


def test_ends_of_a_distribution_are_percentiles_0_and_100(tmp_path: Path) -> None:
    metrics = read(tmp_path, REAL | {"p0_ttft_ms": 10.0, "p100_ttft_ms": 2000.0, "p99.9_ttft_ms": 1900.0})
    assert (metrics.ttft["min"], metrics.ttft["max"], metrics.ttft["p99.9"]) == (0.01, 2.0, 1.9)


def test_partly_failed_requests_lower_the_success_rate_and_count(tmp_path: Path) -> None:
    metrics = read(tmp_path, SOME_FAILED)
    assert (metrics.completed, metrics.failed, metrics.success_rate) == (30, 20, 0.6)


def test_an_older_version_that_does_not_count_failures_is_understood(tmp_path: Path) -> None:
    older = {key: value for key, value in SOME_FAILED.items() if key != "failed"}
    assert read(tmp_path, older).failed == 20


def test_a_client_that_exits_0_with_every_request_failed_is_not_believed(tmp_path: Path) -> None:
    with pytest.raises(UnusableResult, match="none of 50 requests completed"):
        read(tmp_path, ALL_FAILED)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"output_throughput": float("nan")}, "output_throughput is nan"),
        ({"mean_ttft_ms": float("inf")}, "mean_ttft_ms is inf"),
        ({"p99_tpot_ms": -1.0}, "p99_tpot_ms is -1"),
        ({"mean_ttft_ms": 0.0}, "mean ttft is 0 s"),
        ({"mean_ttft_ms": "fast"}, "'fast', not a number"),
        ({"completed": True}, "not a number"),
        ({"completed": 49}, "do not add up"),
        ({"failed": 3}, "do not add up"),
        ({"completed": 49.5, "failed": 0.5}, "not a count"),
        ({"num_prompts": 51}, "another measurement: its num_prompts"),
        ({"max_concurrency": None}, "another measurement: its max_concurrency"),
        ({"max_concurrency": 32}, "another measurement: its max_concurrency"),
        ({"request_rate": 5.0}, "another measurement: its request_rate"),
        ({"model_id": "other"}, "another measurement: its model_id"),
        ({"serviceopt_seed": "6"}, "another measurement: its serviceopt_seed"),
        ({"output_throughput": 0.0}, "no token was generated"),
        ({"duration": 10**400}, "duration is 1000"),
    ],
)
def test_a_result_that_lies_is_a_failure_with_its_reason(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(UnusableResult, match=why):
        read(tmp_path, REAL | changes)


@pytest.mark.parametrize("key", ["output_throughput", "request_throughput", "completed", "num_prompts", "duration"])
def test_a_result_without_what_it_must_tell_is_a_failure(tmp_path: Path, key: str) -> None:
    with pytest.raises(UnusableResult, match=f"no {key}"):
        read(tmp_path, {name: value for name, value in REAL.items() if name != key})


def test_a_statistic_that_the_objective_needs_must_be_there(tmp_path: Path) -> None:
    objective = Objective(slos=(Slo(metric="ttft", statistic="p99.9", limit=1),))
    with pytest.raises(UnusableResult, match=r"p99\.9 TTFT") as error:
        read(tmp_path, REAL, objective=objective)
    assert error.value.metrics is not None
    with pytest.raises(UnusableResult, match="goodput"):
        read(tmp_path, REAL, objective=Objective(maximise="goodput", slos=(Slo(metric="ttft", limit=1),)))


@pytest.mark.parametrize("text", ["", "{", json.dumps(REAL)[:200], "[1]", "null", "\x00", "[" * 5000])
def test_what_is_no_json_object_is_a_failure(tmp_path: Path, text: str) -> None:
    with pytest.raises(UnusableResult):
        read(tmp_path, text)


P90 = Objective(
    slos=(Slo(metric="ttft", statistic="p90", limit=0.305), Slo(metric="tpot", statistic="p50", limit=0.01))
)


def detailed(**changes: object) -> dict[str, Any]:
    """Of 48 requests with 3 tokens, one of a single token, and one that failed; listed out of order."""
    order = [*range(1, 50, 2), *range(0, 50, 2)]
    tokens = [3] * 48 + [1, 0]
    lists = {
        "start_times": [float(number) for number in order],
        "input_lens": [64] * 50,
        "output_lens": [tokens[number] for number in order],
        "ttfts": [0.0 if number == 49 else 0.1 + number / 100 for number in order],
        "itls": [[0.01, 0.03] if tokens[number] == 3 else [] for number in order],
        "generated_texts": ["word " * 3 for _ in order],
        "errors": ["Internal Server Error" if number == 49 else "" for number in order],
    }
    return REAL | {"completed": 49, "failed": 1} | lists | changes


def test_single_requests_are_read_in_the_order_of_sending(tmp_path: Path) -> None:
    found = latencies_of(detailed())
    assert found["ttft"] == pytest.approx([0.1 + number / 100 for number in range(49)])
    assert found["tpot"] == pytest.approx([0.02] * 48)
    assert found["e2el"] == pytest.approx([0.14 + number / 100 for number in range(48)] + [0.58])
    older = detailed()
    del older["start_times"]
    assert sorted(latencies_of(older)["ttft"]) == pytest.approx(found["ttft"])


def test_single_requests_are_reduced_to_what_the_limits_need(tmp_path: Path) -> None:
    metrics = read(tmp_path, detailed(), objective=P90, details=True)
    tail = metrics.tails["ttft p90"]
    assert (tail.requests, tail.above, tail.limit) == (49, 28, 0.305)
    assert metrics.tails["tpot p50"].above == 48
    kept = json.loads((tmp_path / "private" / RESULT).read_text())
    assert "itls" not in kept
    assert "generated_texts" not in kept
    assert kept["decoding_times"].count(pytest.approx(0.04)) == 48
    assert len(kept["ttfts"]) == 50
    assert read(tmp_path, REAL, objective=P90).tails == {}


def test_details_that_the_user_asks_for_stay_as_they_are(tmp_path: Path) -> None:
    assert read(tmp_path, detailed(), objective=P90).tails
    assert json.loads((tmp_path / "private" / RESULT).read_text()) == detailed()


@pytest.mark.parametrize(
    "changes",
    [
        *({"itls": [[0.01]]}, {"ttfts": ["soon"] * 50}, {"errors": None}, {"itls": None}, {"itls": [None] * 50}),
        *({"itls": [[10**400]] * 50}, {"ttfts": [10**400] * 50}, {"ttfts": [float("nan")] * 50}),
    ],
)
def test_single_requests_that_do_not_fit_together_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(UnusableResult, match="the single requests"):
        read(tmp_path, detailed(**changes), objective=P90, details=True)


@pytest.mark.parametrize("at", [0.0, 1.0e9, 4.0e9])
def test_the_time_stamp_of_a_result_is_not_looked_at(tmp_path: Path, at: float) -> None:
    assert read(tmp_path, REAL, at=at).completed == 50


def test_no_file_is_told_with_the_end_of_the_output(tmp_path: Path) -> None:
    client = a_client()
    outcome = an_outcome(
        client, an_order(tmp_path), output="Starting\nConnectionError: refused\n - leaked function x\n"
    )
    with pytest.raises(UnusableResult, match="wrote no result; its output ends: ConnectionError: refused"):
        client.read(outcome)


def test_a_client_killed_by_a_signal_is_told_as_such(tmp_path: Path) -> None:
    client = a_client()
    with pytest.raises(UnusableResult, match="signal 9: last words"):
        client.read(an_outcome(client, an_order(tmp_path), exit_status=-9, output="first\nlast words\n\n"))


@given(
    st.dictionaries(
        st.sampled_from([*REAL, "p75_ttft_ms"]),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=4)
        | st.lists(st.integers(), max_size=2),
        max_size=5,
    )
)
def test_whatever_stands_in_a_result_it_is_read_or_refused(changes: dict[str, Any]) -> None:
    with contextlib.suppress(UnusableResult):
        metrics = metrics_of(REAL | changes)
        assert metrics.completed > 0
        assert all(value >= 0 for latency in (metrics.ttft, metrics.tpot) for value in latency.values())
