from __future__ import annotations

import contextlib
import json
import shlex
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from contract.benchmark import ProcessBenchmarkContract
from contract.orders import (
    VLLM_CONFIGURATION,
    VLLM_FIELDS,
    a_field,
    a_measurement_order,
    a_program,
    a_workplace,
    an_outcome,
    written,
)
from contract.vllm_results import ALL_FAILED, REAL, SOME_FAILED
from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.events import Configuration
from serviceopt_journal.metrics import Metrics
from serviceoptd.benchmarks.belief import TIME_STAMP_TOLERANCE
from serviceoptd.benchmarks.interface import ClientOutcome, MeasurementOrder, UnusableResult
from serviceoptd.benchmarks.vllm_benchmark import RESULT, VllmBenchmark
from serviceoptd.benchmarks.vllm_result import metrics_of
from serviceoptd.domain.settings import Objective, Slo

COMMAND: dict[str, Any] = {
    "host": "127.0.0.1",
    "port": 8000,
    "model": "org/model",
    "served_model_name": "m",
    "dataset_name": "random",
    "num_prompts": 50,
}
AT_16: Configuration = VLLM_CONFIGURATION | {"CONCURRENCY": 16}


def a_client(others: str = "", **command: Any) -> VllmBenchmark:
    section = VllmBenchmark.section.model_validate({"command": COMMAND | {"others": others} | command})
    return VllmBenchmark(section.model_dump(mode="json"))


def an_order(tmp_path: Path, **more: Any) -> MeasurementOrder:
    return a_measurement_order(a_workplace(tmp_path), more.pop("configuration", AT_16), **more)


def argv_of(client: VllmBenchmark, order: MeasurementOrder) -> list[str]:
    command = client.plan(order).command
    assert command is not None
    return list(command.argv)


def read(
    tmp_path: Path, document: object, *, at: float = 1010.0, client: VllmBenchmark | None = None, **more: Any
) -> Metrics:
    reader = client or a_client()
    outcome = an_outcome(reader, an_order(tmp_path, **more))
    text = document if isinstance(document, str) else json.dumps(document)
    written(outcome.order.workplace.directory / RESULT, text, at)
    return reader.read(outcome)


class TestVllmBenchmark(ProcessBenchmarkContract):
    benchmark = VllmBenchmark
    options: ClassVar[dict[str, Any]] = {"command": COMMAND}
    configuration: ClassVar[Configuration] = AT_16

    def write_good_result(self, outcome: ClientOutcome) -> None:
        written(outcome.order.workplace.directory / RESULT, json.dumps(REAL))


def test_the_command_line_is_the_manuals_with_what_the_reading_needs(tmp_path: Path) -> None:
    directory = a_workplace(tmp_path).directory
    assert shlex.join(argv_of(a_client("--random-input-len 64"), an_order(tmp_path, warm_up_requests=8))) == (
        "vllm bench serve --host 127.0.0.1 --port 8000 --model org/model --served-model-name m --dataset-name random "
        f"--num-prompts 50 --max-concurrency 16 --save-result --result-dir {directory} --result-filename {RESULT} "
        "--percentile-metrics ttft,tpot,itl,e2el --metric-percentiles 50,90,95,99 "
        "--seed 7 --disable-tqdm --metadata serviceopt_seed=7 --num-warmups 8 --random-input-len 64"
    )


@pytest.mark.parametrize(("rate", "words"), [(0.0, []), (-1.0, []), (2.5, ["--request-rate", "2.5"])])
def test_a_rate_is_given_only_when_there_is_one(tmp_path: Path, rate: float, words: list[str]) -> None:
    argv = argv_of(a_client(), an_order(tmp_path, configuration={**AT_16, "REQUESTRATE": rate}))
    assert [word for i, word in enumerate(argv) if "--request-rate" in argv[max(0, i - 1) : i + 1]] == words


def test_without_a_concurrency_none_is_given(tmp_path: Path) -> None:
    assert "--max-concurrency" not in argv_of(a_client(), an_order(tmp_path, configuration={"MAX_NUM_SEQS": 4}))


def test_never_more_warm_up_than_there_are_prompts(tmp_path: Path) -> None:
    argv = argv_of(a_client(num_prompts=3), an_order(tmp_path, warm_up_requests=8))
    assert argv[argv.index("--num-warmups") + 1] == "3"
    assert "--num-warmups" not in argv_of(a_client(), an_order(tmp_path, warm_up_requests=0))


def test_the_percentiles_of_the_objective_and_of_the_user_are_asked_for(tmp_path: Path) -> None:
    slos = (Slo(metric="ttft", statistic="p99.9", limit=1), Slo(metric="e2el", statistic="max", limit=9))
    argv = argv_of(
        a_client("--metric-percentiles 75,99 --percentile-metrics=ttft,client_queue_time"),
        an_order(tmp_path, objective=Objective(slos=slos)),
    )
    assert argv.count("--metric-percentiles") == 1
    assert argv[argv.index("--metric-percentiles") + 1] == "50,90,95,99,99.9,100,75"
    assert argv[argv.index("--percentile-metrics") + 1] == "ttft,tpot,itl,e2el,client_queue_time"
    assert "--percentile-metrics=ttft,client_queue_time" not in argv


def test_goodput_gets_the_limits_in_milliseconds(tmp_path: Path) -> None:
    slos = (
        Slo(metric="ttft", limit=1.0),
        Slo(metric="ttft", statistic="p99", limit=1.5),
        Slo(metric="tpot", statistic="p90", limit=0.0505),
        Slo(metric="e2el", limit=30),
    )
    argv = argv_of(a_client(), an_order(tmp_path, objective=Objective(maximise="goodput", slos=slos)))
    position = argv.index("--goodput")
    assert argv[position : position + 4] == ["--goodput", "ttft:1000", "tpot:50.5", "e2el:30000"]
    assert "--goodput" not in argv_of(a_client(), an_order(tmp_path, objective=Objective(slos=slos)))


def test_what_we_only_add_gives_way_to_the_users_own(tmp_path: Path) -> None:
    argv = argv_of(a_client("--seed 1 --metadata a=b --num-warmups 2"), an_order(tmp_path, warm_up_requests=8))
    assert argv[-6:] == ["--seed", "1", "--metadata", "a=b", "--num-warmups", "2"]
    assert [argv.count(flag) for flag in ("--seed", "--metadata", "--num-warmups")] == [1, 1, 1]


@pytest.mark.parametrize(
    "others", ["--num-prompts 9", "--max-concurrency 4", "--result_dir=x", "--append-result", "--dataset-path x"]
)
def test_what_decides_the_measurement_cannot_be_overridden(tmp_path: Path, others: str) -> None:
    with pytest.raises(InvalidConfiguration, match="given twice"):
        a_client(others).plan(an_order(tmp_path))


def test_a_concurrency_that_is_no_field_may_be_fixed_in_others(tmp_path: Path) -> None:
    client, fields = a_client("--max-concurrency 16"), VLLM_FIELDS[:2]
    configuration = {"MAX_NUM_SEQS": 4, "MAX_NUM_BATCHED_TOKENS": 8192}
    assert (
        argv_of(client, an_order(tmp_path, configuration=configuration, fields=fields)).count("--max-concurrency") == 1
    )
    assert read(tmp_path, REAL, client=client, configuration=configuration, fields=fields).completed == 50
    with pytest.raises(UnusableResult, match="max_concurrency"):
        read(tmp_path, REAL | {"max_concurrency": 8}, client=client, configuration=configuration, fields=fields)


def test_names_are_replaced_and_load_fields_become_flags(tmp_path: Path) -> None:
    fields = (*VLLM_FIELDS, a_field("burst", "argument:--burstiness", dtype="float", load=True))
    order = an_order(tmp_path, configuration={**AT_16, "burst": 0.5}, fields=fields)
    command = a_client("--label seqs-$MAX_NUM_SEQS-$SEED").plan(order).command
    assert command is not None
    assert command.argv[-4:] == ("--burstiness", "0.5", "--label", "seqs-128-7")
    assert {command.environment[name] for name in ("CONCURRENCY", "MAX_NUM_SEQS")} == {"16", "128"}


def test_a_data_set_is_passed_on_and_identified_by_its_content(tmp_path: Path) -> None:
    place = a_workplace(tmp_path)
    client = a_client(dataset_name="sharegpt", dataset_path="data/share.json")
    path = place.working_directory / "data" / "share.json"
    argv = argv_of(client, an_order(tmp_path))
    assert argv[argv.index("--dataset-path") + 1] == str(path)
    assert "vllm_benchmark.command.dataset_path" in [problem.key for problem in client.problems(place)]
    path.parent.mkdir()
    digests = set()
    for text in ("[]", "[1]"):
        path.write_text(text)
        digests.add(client.identity(place)["dataset_content"])
    assert len(digests) == 2
    assert "vllm_benchmark.command.dataset_path" not in [problem.key for problem in client.problems(place)]


def test_a_data_set_on_a_hub_is_passed_on_by_name(tmp_path: Path) -> None:
    client = a_client(dataset_name="hf", dataset_path="org/data")
    argv = argv_of(client, an_order(tmp_path))
    assert argv[argv.index("--dataset-path") + 1] == "org/data"
    assert client.identity(a_workplace(tmp_path))["dataset"] == "hf org/data"


def test_placeholders_of_the_predecessors_default_are_problems(tmp_path: Path) -> None:
    a_program(tmp_path, "vllm")
    client = VllmBenchmark(VllmBenchmark.section().model_dump(mode="json"))
    keys = [problem.key.rpartition(".")[2] for problem in client.problems(a_workplace(tmp_path))]
    assert keys == ["port", "model", "served_model_name", "dataset_name"]
    assert a_client().problems(a_workplace(tmp_path)) == []
    assert [problem.key for problem in a_client("--port 1").problems(a_workplace(tmp_path))] == [
        "vllm_benchmark.command.others"
    ]


@pytest.mark.parametrize("command", [{"num_prompts": 0}, {"num_prompts": 10001}, {"port": 0}, {"datset_name": "x"}])
def test_values_out_of_range_do_not_load(command: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        a_client(**command)


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
        ({"num_prompts": 51}, "another measurement's: its num_prompts"),
        ({"max_concurrency": None}, "another measurement's: its max_concurrency"),
        ({"max_concurrency": 32}, "another measurement's: its max_concurrency"),
        ({"request_rate": 5.0}, "another measurement's: its request_rate"),
        ({"model_id": "other"}, "another measurement's: its model_id"),
        ({"serviceopt_seed": "6"}, "another measurement's: its serviceopt_seed"),
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


def test_a_file_from_before_the_measurement_is_another_ones(tmp_path: Path) -> None:
    with pytest.raises(UnusableResult, match="100 s older than the measurement"):
        read(tmp_path, REAL, at=900.0)
    assert read(tmp_path, REAL, at=1000.0 - TIME_STAMP_TOLERANCE / 2).completed == 50


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
