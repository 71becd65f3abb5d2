from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from daemon.benchmarks.guidellm.guidellm_documents import STARTED, a_document, a_request, an_error
from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.events import Configuration
from serviceopt_journal.metrics import Metrics
from serviceoptd.benchmarks.guidellm.client import RESULT, GuidellmBenchmark
from serviceoptd.benchmarks.guidellm.result import _percentile
from serviceoptd.benchmarks.interface import ClientOutcome, MeasurementOrder
from serviceoptd.contract import ProcessBenchmarkContract
from serviceoptd.contract.orders import (
    VLLM_CONFIGURATION,
    VLLM_FIELDS,
    a_field,
    a_measurement_order,
    a_workplace,
    an_outcome,
    written,
)
from serviceoptd.domain.settings import Objective, Slo
from serviceoptd.toolkit.interface import UnusableResult

MEASURED: dict[str, Any] = {"port": 8000, "model": "org/model", "served_model_name": "m", "num_prompts": 10}
AT_16: Configuration = VLLM_CONFIGURATION | {"CONCURRENCY": 16}
TEN = [a_request(number) for number in range(10)]


def a_client(**command: Any) -> GuidellmBenchmark:
    section = GuidellmBenchmark.section.model_validate({"command": MEASURED | command})
    return GuidellmBenchmark(section.model_dump(mode="json"))


def an_order(tmp_path: Path, **more: Any) -> MeasurementOrder:
    return a_measurement_order(a_workplace(tmp_path), more.pop("configuration", AT_16), **more)


def documents_of(client: GuidellmBenchmark, order: MeasurementOrder) -> dict[str, Any]:
    """The JSON documents of the command line, by flag."""
    command = client.plan(order).command
    assert command is not None
    words = iter(command.argv)
    return {word: json.loads(next(words)) for word in words if word.startswith("--") and not word.startswith("--dis")}


def read(tmp_path: Path, document: object, *, client: GuidellmBenchmark | None = None, **more: Any) -> Metrics:
    reader = client or a_client()
    outcome = an_outcome(reader, an_order(tmp_path, **more))
    written(outcome.order.workplace.directory / RESULT, json.dumps(document))
    return reader.read(outcome)


class TestGuidellm(ProcessBenchmarkContract):
    benchmark = GuidellmBenchmark
    options: ClassVar[dict[str, Any]] = {"command": MEASURED}
    configuration: ClassVar[Configuration] = AT_16

    def write_good_result(self, outcome: ClientOutcome) -> None:
        written(outcome.order.workplace.directory / RESULT, json.dumps(a_document(TEN)))


def test_the_command_line_is_one_document_for_each_flag(tmp_path: Path) -> None:
    order = an_order(tmp_path)
    command = a_client().plan(order).command
    assert command is not None
    assert command.argv[:2] == ("guidellm", "run")
    assert command.argv[-1] == "--disable-console-interactive"
    assert documents_of(a_client(), order) == {
        "--backend": {
            "kind": "openai_http",
            "target": "http://127.0.0.1:8000",
            "model": "m",
            "request_format": "/v1/chat/completions",
        },
        "--profile": {"kind": "concurrent", "streams": [16]},
        "--constraint": {"kind": "max_requests", "count": 10},
        "--tokenizer": {"kind": "huggingface_auto", "model": "org/model"},
        "--data": {"kind": "synthetic_text", "prompt_tokens": 512, "output_tokens": 128},
        "--seed": {"kind": "static", "value": 7},
        "--output": {"kind": "json", "path": str(order.workplace.directory / RESULT)},
        "--metrics": {"kind": "generative", "sample_size": 0, "confidence": None},
    }


@pytest.mark.parametrize(
    ("load", "profile"),
    [
        ({"CONCURRENCY": 4}, {"kind": "concurrent", "streams": [4]}),
        ({"REQUESTRATE": 2.5}, {"kind": "poisson", "rate": [2.5], "max_concurrency": None}),
        ({"CONCURRENCY": 4, "REQUESTRATE": 2.5}, {"kind": "poisson", "rate": [2.5], "max_concurrency": 4}),
        ({}, {"kind": "throughput", "max_concurrency": None}),
    ],
)
def test_the_load_is_the_profile(tmp_path: Path, load: Configuration, profile: dict[str, Any]) -> None:
    assert documents_of(a_client(), an_order(tmp_path, configuration=load))["--profile"] == profile


def test_a_sample_and_warm_up_requests_are_counted_in(tmp_path: Path) -> None:
    order = with_changes(an_order(tmp_path, warm_up_requests=8), sample=6)
    assert a_client().plan(order).num_prompts == 6
    assert documents_of(a_client(), order)["--constraint"]["count"] == 6 + 6


def with_changes(order: MeasurementOrder, **changes: Any) -> MeasurementOrder:
    return MeasurementOrder(**{**order.__dict__, **changes})


def test_a_data_set_is_found_from_where_the_run_was_submitted(tmp_path: Path) -> None:
    client, order = a_client(data={"kind": "json_file", "path": "prompts.json"}), an_order(tmp_path)
    path = order.workplace.working_directory / "prompts.json"
    assert documents_of(client, order)["--data"] == {"kind": "json_file", "path": str(path)}
    assert [problem.key for problem in client.problems(order.workplace) if "exist" in problem.message] == [
        "guidellm.command.data"
    ]
    path.write_text("[]")
    before = client.identity(order.workplace)
    path.write_text('["other"]')
    assert client.identity(order.workplace)["data_content"] != before["data_content"]


def test_more_keys_of_the_backend_are_passed_on_and_secrets_stay_out_of_the_identity(tmp_path: Path) -> None:
    client, order = a_client(backend={"timeout": 30, "api_key": "sk-abcdefghijklmnop"}), an_order(tmp_path)
    assert documents_of(client, order)["--backend"]["timeout"] == 30
    assert "sk-abc" not in str(client.identity(order.workplace))


@pytest.mark.parametrize(
    "command", [{"data": {"prompt_tokens": 3}}, {"backend": {"target": "http://x"}}, {"num_prompts": 0}, {"dta": {}}]
)
def test_sections_that_cannot_work_do_not_load(command: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        GuidellmBenchmark.section.model_validate({"command": MEASURED | command})


@pytest.mark.parametrize("others", ["--profile kind=sweep", "--seed 3", "-c scenario.json"])
def test_what_the_table_and_the_load_decide_is_refused_in_others(tmp_path: Path, others: str) -> None:
    client = a_client(others=others)
    with pytest.raises(InvalidConfiguration, match="given twice"):
        client.plan(an_order(tmp_path))
    assert "guidellm.command.others" in {p.key for p in client.problems(a_workplace(tmp_path))}


def test_a_field_of_the_client_becomes_its_flag(tmp_path: Path) -> None:
    field = a_field("label", "argument:--label", dtype="str", load=True)
    order = an_order(tmp_path, configuration={**AT_16, "label": "a=b"}, fields=(*VLLM_FIELDS, field))
    command = a_client().plan(order).command
    assert command is not None
    assert command.argv[-2:] == ("--label", "a=b")


def test_a_result_is_computed_from_its_requests(tmp_path: Path) -> None:
    metrics = read(tmp_path, a_document(TEN))
    assert metrics.duration == pytest.approx(1.9)
    assert metrics.generate_speed == pytest.approx(110 / 1.9)
    assert metrics.throughput == pytest.approx(10 / 1.9)
    assert (metrics.completed, metrics.failed, metrics.success_rate) == (10, 0, 1.0)
    assert metrics.ttft["mean"] == metrics.ttft["p99"] == pytest.approx(0.4)
    assert metrics.e2el["mean"] == pytest.approx(1.0)
    assert (metrics.input_tokens, metrics.output_tokens) == (400, 110)


def test_tpot_leaves_out_the_first_token_as_that_of_vllm_does(tmp_path: Path) -> None:
    assert read(tmp_path, a_document(TEN)).tpot["mean"] == pytest.approx(0.05)


def test_a_request_of_one_token_has_no_tpot(tmp_path: Path) -> None:
    single = [a_request(number, output_tokens=1, inter_token_latency_ms=None) for number in range(10)]
    assert read(tmp_path, a_document(single)).tpot == {}
    mixed = [*single[:5], *TEN[5:]]
    assert read(tmp_path, a_document(mixed)).tpot["mean"] == pytest.approx(0.05)


def test_warm_up_requests_are_left_out_those_that_began_first(tmp_path: Path) -> None:
    slow = [a_request(-number, time_to_first_token_ms=9000.0) for number in (1, 2, 3)]
    document = a_document([*TEN[5:], *slow, *TEN[:5]])
    metrics = read(tmp_path, document, warm_up_requests=3)
    assert metrics.completed == 10
    assert metrics.ttft["max"] == pytest.approx(0.4)
    assert metrics.duration == pytest.approx(1.9)


def test_percentiles_of_the_objective_are_among_the_statistics(tmp_path: Path) -> None:
    spread = [a_request(number, time_to_first_token_ms=100.0 * (number + 1)) for number in range(10)]
    objective = Objective(slos=(Slo(metric="ttft", statistic="p97.5", limit=5.0),))
    metrics = read(tmp_path, a_document(spread), objective=objective)
    assert metrics.ttft["p97.5"] == pytest.approx(0.9775)
    assert metrics.ttft["p50"] == pytest.approx(0.55)
    assert (metrics.ttft["min"], metrics.ttft["max"]) == pytest.approx((0.1, 1.0))


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=40), st.floats(0, 100))
def test_a_percentile_lies_between_its_neighbours_and_grows(values: list[float], percent: float) -> None:
    values.sort()
    found = _percentile(values, percent)
    assert values[0] <= found <= values[-1] or found == pytest.approx(values[-1])
    assert _percentile(values, 0.0) == values[0]
    assert _percentile(values, 100.0) == values[-1]
    assert _percentile(values, 100.0) >= found - 1e-9


def test_goodput_counts_the_requests_that_kept_every_limit(tmp_path: Path) -> None:
    mixed = [*TEN[:6], *(a_request(n, time_to_first_token_ms=900.0) for n in (6, 7))]
    mixed += [a_request(n, request_latency=5.0) for n in (8, 9)]
    slos = (Slo(metric="ttft", limit=0.5), Slo(metric="e2el", statistic="p99", limit=2.0))
    metrics = read(tmp_path, a_document(mixed), objective=Objective(maximise="goodput", slos=slos))
    assert metrics.goodput == pytest.approx(6 / 1.9)


def test_requests_that_failed_among_others_lower_the_success_rate(tmp_path: Path) -> None:
    metrics = read(tmp_path, a_document(TEN[:7], [an_error(number) for number in (7, 8, 9)]))
    assert (metrics.completed, metrics.failed) == (7, 3)
    assert metrics.success_rate == pytest.approx(0.7)
    assert metrics.output_tokens == 77


def test_when_every_request_failed_the_reason_is_what_the_service_answered(tmp_path: Path) -> None:
    with pytest.raises(UnusableResult, match=r"none of 10 requests completed: HTTPStatusError.*'500'") as error:
        read(tmp_path, a_document([], [an_error(number) for number in range(10)]))
    assert "Traceback" not in error.value.message


def without(*path: Any) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        del document[path[-1]]

    return change


def changed(*path: Any) -> Callable[[Any], None]:
    *place, key, value = path

    def change(document: Any) -> None:
        for step in place:
            document = document[step]
        document[key] = value

    return change


FIRST = ("benchmarks", 0, "requests", "successful", 0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (changed("benchmarks", []), "holds 0 benchmarks"),
        (without("benchmarks"), "holds no benchmarks"),
        (without("benchmarks", 0, "metrics", "request_totals"), "no 'request_totals'"),
        (without("benchmarks", 0, "requests", "errored"), "no 'errored'"),
        (
            changed("benchmarks", 0, "metrics", "request_totals", "successful", 11),
            "11 requests were successful, and 10",
        ),
        (changed(*FIRST, "time_to_first_token_ms", "12"), "time_to_first_token_ms of a request is '12'"),
        (changed(*FIRST, "request_latency", -1.0), "request_latency of a request is -1.0"),
        (changed(*FIRST, "output_tokens", True), "output_tokens of a request is True"),
        (changed("config", "spec", "seed", "value", 8), "another measurement: its seed.value is 8"),
        (changed("config", "spec", "profile", "streams", [4]), r"its profile.streams is \[4\], expected \[16\]"),
        (changed("config", "spec", "backend", "model", "other"), "its backend.model is 'other'"),
    ],
)
def test_a_result_that_is_not_what_was_asked_for_is_not_believed(
    tmp_path: Path, change: Callable[[Any], None], reason: str
) -> None:
    document = json.loads(json.dumps(a_document(TEN)))
    change(document)
    with pytest.raises(UnusableResult, match=reason):
        read(tmp_path, document)


def test_a_data_set_with_too_few_requests_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnusableResult, match="counts 9 requests, expected 10"):
        read(tmp_path, a_document(TEN[:9]))


def test_no_time_between_start_and_end_is_not_believed(tmp_path: Path) -> None:
    at_once = [a_request(n, request_start_time=STARTED, request_end_time=STARTED) for n in range(10)]
    with pytest.raises(UnusableResult, match="took 0 s together"):
        read(tmp_path, a_document(at_once))


@given(
    st.lists(
        st.tuples(st.floats(0.0, 100.0), st.floats(0.001, 50.0), st.integers(1, 4000), st.floats(0.0, 60_000.0)),
        min_size=10,
        max_size=10,
    )
)
def test_any_requests_give_metrics_that_survive_the_journal(
    tmp_path_factory: pytest.TempPathFactory, requests: list[tuple[float, float, int, float]]
) -> None:
    told = [
        a_request(
            number,
            request_start_time=STARTED + start,
            request_end_time=STARTED + start + latency,
            request_latency=latency,
            output_tokens=tokens,
            time_to_first_token_ms=ttft + 0.001,
        )
        for number, (start, latency, tokens, ttft) in enumerate(requests)
    ]
    metrics = read(tmp_path_factory.mktemp("measured"), a_document(told))
    assert msgspec.json.decode(msgspec.json.encode(metrics), type=Metrics) == metrics
    assert metrics.output_tokens == sum(tokens for _, _, tokens, _ in requests)
    assert metrics.e2el["mean"] == pytest.approx(fmean(latency for _, latency, _, _ in requests))
    assert metrics.ttft["min"] <= metrics.ttft["p50"] <= metrics.ttft["p99"] <= metrics.ttft["max"]


def test_single_requests_tell_how_many_were_above_a_limit_of_a_percentile(tmp_path: Path) -> None:
    requests = [a_request(number, time_to_first_token_ms=100.0 * (number + 1)) for number in range(10)]
    limited = Objective(slos=(Slo(metric="ttft", statistic="p50", limit=0.75), Slo(metric="tpot", limit=1.0)))
    tails = read(tmp_path, a_document(requests), objective=limited).tails
    assert set(tails) == {"ttft p50"}
    assert (tails["ttft p50"].requests, tails["ttft p50"].above, tails["ttft p50"].low) == (10, 3, 0.2)
    assert tails["ttft p50"].high == pytest.approx(0.9)
