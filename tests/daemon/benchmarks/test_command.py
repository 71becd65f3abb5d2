from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.metrics import Metrics
from serviceoptd.benchmarks.command import CommandBenchmark
from serviceoptd.benchmarks.interface import ClientOutcome
from serviceoptd.contract.benchmark import ProcessBenchmarkContract
from serviceoptd.contract.orders import (
    VLLM_CONFIGURATION,
    VLLM_FIELDS,
    a_measurement_order,
    a_program,
    a_workplace,
    an_outcome,
    written,
)
from serviceoptd.toolkit.interface import UnusableResult

CLIENT: dict[str, Any] = {
    "argv": [
        *("bench", "--url", "http://$HOST:$PORT", "--concurrency", "$CONCURRENCY", "--rate=$REQUESTRATE"),
        *("--seed", "$SEED", "--n", "$NUM_PROMPTS", "--warm", "$WARM_UP", "--out", "$RESULT_FILE"),
    ],
    "num_prompts": 100,
    "host": "0.0.0.0",  # noqa: S104 - never bound
    "port": 9000,
    "result_file": "out.json",
    "metrics": {
        "generate_speed": {"path": "summary.tok", "unit": "tok/s"},
        "throughput": {"path": "summary.req", "unit": "req/min"},
        "completed": {"path": "counts.0"},
        "failed": {"path": "counts[1]"},
        "ttft": {"mean": {"path": 'latency."ttft.mean"', "unit": "ms"}, "p99": {"path": "p99", "unit": "text"}},
        "tpot.mean": {"path": "latency.tpot", "unit": "us"},
    },
}
RESULT = {
    "summary": {"tok": 1234.5, "req": 600},
    "counts": [98, 2],
    "latency": {"ttft.mean": 250, "tpot": "31,500"},
    "p99": "0.75 s",
}
TEXT: dict[str, Any] = {
    "argv": ["bench", "--seed", "$SEED"],
    "num_prompts": 100,
    "stdout": True,
    "metrics": {
        "generate_speed": {"pattern": r"^Output: ([\d.]+)", "unit": "tok/s"},
        "duration": {"pattern": r"took ([\d.]+ ?\w+)", "unit": "text"},
        "success_rate": {"pattern": r"success ([\d.]+)%", "unit": "%"},
        "ttft.mean": {"pattern": r"first token ([\d.]+)", "unit": "s"},
    },
}
LINES = "warming up\nOutput: 1.0\nOutput: 800.5 tok/s\ntook 2 min\nsuccess 97.0%\nfirst token 0.5\n"


def a_client(base: dict[str, Any] = CLIENT, **changes: Any) -> CommandBenchmark:
    section = {"client": {key: value for key, value in {**base, **changes}.items() if value is not None}}
    return CommandBenchmark(CommandBenchmark.section.model_validate(section).model_dump(mode="json"))


def read(tmp_path: Path, document: object, client: CommandBenchmark | None = None, at: float = 1010.0) -> Metrics:
    reader = client or a_client()
    outcome = an_outcome(reader, a_measurement_order(a_workplace(tmp_path)))
    written(outcome.order.workplace.directory / "out.json", json.dumps(document), at)
    return reader.read(outcome)


def read_text(tmp_path: Path, text: str, client: CommandBenchmark | None = None) -> Metrics:
    reader = client or a_client(TEXT)
    return reader.read(an_outcome(reader, a_measurement_order(a_workplace(tmp_path)), output=text))


class TestCommandWithAFile(ProcessBenchmarkContract):
    benchmark = CommandBenchmark
    options: ClassVar[dict[str, Any]] = {"client": CLIENT}
    others = "client.argv"
    process_table = "client"

    def write_good_result(self, outcome: ClientOutcome) -> None:
        written(outcome.order.workplace.directory / "out.json", json.dumps(RESULT))


class TestCommandWithStandardOutput(ProcessBenchmarkContract):
    benchmark = CommandBenchmark
    options: ClassVar[dict[str, Any]] = {"client": TEXT}
    others = "client.argv"
    process_table = "client"

    def write_good_result(self, outcome: ClientOutcome) -> None:
        with outcome.output.open("a") as output:
            output.write(LINES)


def test_every_name_is_replaced_and_an_unlimited_load_leaves_its_arguments_away(tmp_path: Path) -> None:
    place = a_workplace(tmp_path)
    plan = a_client().plan(a_measurement_order(place, warm_up_requests=500))
    assert plan.command is not None
    out = place.directory / "out.json"
    assert plan.command.argv == (
        *("bench", "--url", "http://127.0.0.1:9000", "--concurrency", "100", "--seed", "7"),
        *("--n", "100", "--warm", "100", "--out", str(out)),
    )
    assert plan.artefacts == {"out.json": out}
    unlimited = a_client().plan(a_measurement_order(place, {"REQUESTRATE": 2.5}))
    assert unlimited.command is not None
    assert unlimited.command.argv[3:6] == ("--rate=2.5", "--seed", "7")


def test_the_service_of_the_same_table_gives_host_port_and_model(tmp_path: Path) -> None:
    service = {"argv": ["s"], "host": "127.0.0.2", "port": "8123", "model": "org/m", "ready_url": "/health"}
    client = {**CLIENT, "argv": ["bench", "$HOST:$PORT", "$MODEL", "$SEED"]}
    del client["host"], client["port"]
    options = CommandBenchmark.section.model_validate({"service": service, "client": client}).model_dump(mode="json")
    command = CommandBenchmark(options).plan(a_measurement_order(a_workplace(tmp_path))).command
    assert command is not None
    assert command.argv == ("bench", "127.0.0.2:8123", "org/m", "7")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"argv": ["bench", "$DATASET"]}, r"\$DATASET .* has no value"),
        ({"argv": ["bench", "$PORT"], "port": None}, r"\$PORT .* has no value"),
        ({"port": "port"}, "not a number"),
    ],
)
def test_a_name_without_a_value_is_refused(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidConfiguration, match=why):
        a_client(**changes).plan(a_measurement_order(a_workplace(tmp_path)))


def test_numbers_are_read_by_path_and_brought_into_our_units(tmp_path: Path) -> None:
    metrics = read(tmp_path, RESULT)
    assert (metrics.generate_speed, metrics.throughput) == (1234.5, pytest.approx(10.0))
    assert (metrics.completed, metrics.failed, metrics.success_rate) == (98, 2, 0.98)
    assert metrics.ttft == {"mean": pytest.approx(0.25), "p99": 0.75}
    assert metrics.tpot == {"mean": pytest.approx(0.0315)}
    assert metrics.duration == pytest.approx(9.8)


def test_numbers_are_read_from_the_last_matching_line_of_the_output(tmp_path: Path) -> None:
    metrics = read_text(tmp_path, LINES)
    assert (metrics.generate_speed, metrics.duration, metrics.completed) == (800.5, 120.0, 97)
    assert metrics.throughput == pytest.approx(97 / 120)


def test_json_on_the_standard_output_is_found_among_other_lines(tmp_path: Path) -> None:
    client = a_client(stdout=True, result_file=None, argv=["bench"])
    text = 'starting\n{"progress": 1}\n' + json.dumps(RESULT) + "\ndone\n"
    assert read_text(tmp_path, text, client).completed == 98


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"counts": [98, 3]}, "do not add up"),
        ({"counts": [0, 100]}, "none of 100 requests completed"),
        ({"counts": [97.5, 2.5]}, "not whole numbers"),
        ({"counts": [98]}, r"nothing at counts\[1\]"),
        ({"summary": {"tok": float("nan"), "req": 600}}, "generate_speed is nan"),
        ({"summary": {"tok": -1, "req": 600}}, "generate_speed is -1"),
        ({"summary": {"tok": None, "req": 600}}, "None, not a number"),
        ({"summary": "text"}, r"nothing at summary\.tok"),
        ({"latency": {"ttft.mean": 0, "tpot": 1}}, "mean ttft is 0 s"),
        ({"p99": "0.75"}, "no unit of a time"),
    ],
)
def test_a_result_that_lies_is_a_failure_with_its_reason(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(UnusableResult, match=why):
        read(tmp_path, {**RESULT, **changes})


def test_a_result_of_another_number_of_requests_is_another_ones(tmp_path: Path) -> None:
    client = a_client(metrics={**CLIENT["metrics"], "num_prompts": {"path": "n"}})
    with pytest.raises(UnusableResult, match="another measurement: it"):
        read(tmp_path, {**RESULT, "n": 99}, client)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"stdout": True}, "one of result_file and stdout"),
        ({"result_file": None}, "one of result_file and stdout"),
        ({"result_file": "../x"}, "own directory"),
        ({"argv": []}, "argv"),
        ({"metrics": {}}, "needs generate_speed"),
        ({"metrics": {"generate_speed": {"path": "a", "unit": "tok/s"}}}, "needs throughput"),
        ({"metrics": {**CLIENT["metrics"], "completed": {"path": "", "unit": ""}}}, "names no value"),
        ({"metrics": {**CLIENT["metrics"], "e2el.mean": {"path": "a"}}}, "unit '' is not a unit of time"),
        ({"metrics": {**CLIENT["metrics"], "e2el.mode": {"path": "a", "unit": "s"}}}, "e2el.mode is not a metric"),
        ({"metrics": {**CLIENT["metrics"], "duration": {"path": "a", "pattern": "(a)", "unit": "s"}}}, "one of path"),
        ({"metrics": {**CLIENT["metrics"], "duration": {"pattern": "a", "unit": "s"}}}, "one group"),
    ],
)
def test_a_description_that_cannot_work_does_not_load(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        a_client(**changes)


def test_a_client_that_does_not_count_its_requests_does_not_load() -> None:
    uncounted = {name: source for name, source in TEXT["metrics"].items() if name != "success_rate"}
    with pytest.raises(ValidationError, match="must not be believed"):
        a_client(TEXT, metrics=uncounted)


def test_what_is_missing_is_a_problem(tmp_path: Path) -> None:
    place = a_workplace(tmp_path)
    assert [problem.key for problem in CommandBenchmark({}).problems(place)] == ["command.client"]
    keys = [problem.key for problem in a_client(port="port", dataset="data.json").problems(place)]
    assert keys == ["command.client.port", "command.client.dataset", "command.client.program"]
    a_program(tmp_path, "bench")
    assert a_client().problems(place) == []


def test_another_data_set_is_another_identity(tmp_path: Path) -> None:
    place = a_workplace(tmp_path)
    client = a_client(dataset="data.json")
    seen = []
    for text in ("1", "2"):
        (place.working_directory / "data.json").write_text(text)
        seen.append(client.identity(place))
    assert seen[0] != seen[1]


def test_it_measures_a_service_of_another_engine(tmp_path: Path) -> None:
    order = a_measurement_order(a_workplace(tmp_path), VLLM_CONFIGURATION, VLLM_FIELDS)
    command = a_client(argv=["bench", "--seqs", "$MAX_NUM_SEQS", "$SEED"]).plan(order).command
    assert command is not None
    assert command.argv == ("bench", "--seqs", "128", "7")
