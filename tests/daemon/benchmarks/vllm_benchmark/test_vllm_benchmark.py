from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from contract.vllm import AT_16, MEASURED, REAL, a_client, an_order, read
from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.events import Configuration
from serviceoptd.benchmarks.interface import ClientOutcome, MeasurementOrder
from serviceoptd.benchmarks.vllm_benchmark.client import RESULT, VllmBenchmark
from serviceoptd.contract.benchmark import ProcessBenchmarkContract
from serviceoptd.contract.orders import (
    VLLM_FIELDS,
    a_field,
    a_program,
    a_workplace,
    written,
)
from serviceoptd.domain.settings import Objective, Slo
from serviceoptd.toolkit.interface import UnusableResult


def argv_of(client: VllmBenchmark, order: MeasurementOrder) -> list[str]:
    command = client.plan(order).command
    assert command is not None
    return list(command.argv)


class TestVllmBenchmark(ProcessBenchmarkContract):
    benchmark = VllmBenchmark
    options: ClassVar[dict[str, Any]] = {"command": MEASURED}
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


def test_single_requests_are_asked_for_where_a_percentile_is_to_be_proven(tmp_path: Path) -> None:
    percentile, mean = (Objective(slos=(Slo(metric="ttft", statistic=s, limit=1.0),)) for s in ("p99", "mean"))
    asked = {
        (name, details): "--save-detailed" in argv_of(a_client(), an_order(tmp_path, objective=it, details=details))
        for name, it in (("percentile", percentile), ("mean", mean))
        for details in (False, True)
    }
    assert [key for key, is_asked in asked.items() if is_asked] == [("percentile", True)]
    twice = argv_of(a_client("--save-detailed"), an_order(tmp_path, objective=percentile, details=True))
    assert twice.count("--save-detailed") == 1


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


@pytest.mark.parametrize(("sample", "sent"), [(None, "50"), (20, "20"), (50, "50"), (1000, "50")])
def test_a_sample_is_never_more_than_there_is(tmp_path: Path, sample: int | None, sent: str) -> None:
    plan = a_client().plan(replace(an_order(tmp_path), sample=sample))
    assert plan.command is not None
    assert plan.command.argv[plan.command.argv.index("--num-prompts") + 1] == sent
    assert plan.num_prompts == int(sent)
