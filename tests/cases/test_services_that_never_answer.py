"""Options with which a service never answers its readiness check: told before a launch waits for its whole limit."""

from __future__ import annotations

from pathlib import Path

import pytest

from cases.configurations import CONCURRENCY, a_field, a_vllm_case, seen
from serviceopt_journal.errors import InvalidConfiguration
from serviceoptd.contract.orders import a_service_order, a_workplace
from serviceoptd.engines.command.engine import CommandEngine
from serviceoptd.engines.sglang import SglangEngine


@pytest.mark.parametrize(
    "others",
    [
        "--uds ./v.sock",
        "--uds=/run/v.sock",
        "--headless",
        "--grpc",
        "--ssl-keyfile k.pem --ssl-certfile c.pem",
        "--ssl_certfile=c.pem",
        "--ssl-cert c.pem",  # cannot be told from --ssl-cert-reqs: refused as ambiguous
        "--api-server-count 0",
        "-asc 0",
        "--node-rank 1",
        "-r 1",
        "--config never.yaml",
    ],
)
def test_an_option_with_which_vllm_never_answers_is_told_by_check(tmp_path: Path, others: str) -> None:
    (tmp_path / "never.yaml").write_text("uds: /run/v.sock\n")
    with pytest.raises(InvalidConfiguration, match=r"is never answered|can stand for"):
        seen(a_vllm_case(tmp_path, others=others))


@pytest.mark.parametrize(
    "others",
    [
        "--api-server-count 2",
        "--node-rank 0",
        "--ssl-ca-certs ca.pem",
        "--api-key sk-x",
        "--root-path /v",
        "--grpc-port 9",
    ],
)
def test_options_with_which_vllm_does_answer_are_left_alone(tmp_path: Path, others: str) -> None:
    assert seen(a_vllm_case(tmp_path, others=others)).service[-2] == others.split(maxsplit=1)[0]


@pytest.mark.parametrize(("position", "dtype", "value"), [("--uds", "str", '"x.sock"'), ("--headless", "bool", "true")])
def test_a_searched_option_of_that_kind_is_told_too(tmp_path: Path, position: str, dtype: str, value: str) -> None:
    fields = CONCURRENCY + a_field("x", dtype, config_position=f'"argument:{position}"', constant=value)
    with pytest.raises(InvalidConfiguration, match="is never answered"):
        seen(a_vllm_case(tmp_path, fields=fields))


@pytest.mark.parametrize("others", ["--grpc-mode", "--ssl-keyfile k --ssl-certfile c", "--node-rank 1"])
def test_options_with_which_sglang_never_answers_are_refused(tmp_path: Path, others: str) -> None:
    command = {"model": "org/m", "served_model_name": "m", "others": others}
    engine = SglangEngine(SglangEngine.section.model_validate({"command": command}).model_dump(mode="json"))
    with pytest.raises(InvalidConfiguration, match="is never answered"):
        engine.plan(a_service_order(a_workplace(tmp_path), {}, ()))


@pytest.mark.parametrize(
    "others", ["--runner pooling", "--task embed", "--task=score", "--convert classify", "--run pooling"]
)
def test_a_vllm_that_generates_no_tokens_is_told_by_check(tmp_path: Path, others: str) -> None:
    with pytest.raises(InvalidConfiguration, match=r"reranking are not supported"):
        seen(a_vllm_case(tmp_path, others=others))


def test_a_vllm_that_generates_is_left_alone(tmp_path: Path) -> None:
    assert seen(a_vllm_case(tmp_path, others="--task generate")).service[-1] == "generate"


def a_described(*argv: str, **service: object) -> CommandEngine:
    described = {"argv": list(argv), "port": 8000, "ready_url": "/health", **service}
    return CommandEngine({"service": described})


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["vllm", "serve", "m", "--port", "$PORT", "--uds", "/run/v.sock"], "--uds: vLLM then listens on a socket"),
        (["/opt/bin/vllm", "serve", "m", "--port", "$PORT", "--headless"], "--headless: vLLM then serves no HTTP"),
        (["python3", "-m", "sglang.launch_server", "--port", "$PORT", "--ssl-keyfile", "k"], "SGLang then speaks TLS"),
        (["vllm", "serve", "m", "--port", "9000"], "--port 9000 in .* is not its port 8000"),
        (["numactl", "-N", "0", "vllm", "serve", "m", "--port=9000"], "--port 9000 in .* is not its port 8000"),
    ],
)
def test_a_known_program_in_a_described_service_that_never_answers_is_told(
    tmp_path: Path, argv: list[str], told: str
) -> None:
    with pytest.raises(InvalidConfiguration, match=told):
        a_described(*argv).plan(a_service_order(a_workplace(tmp_path), {}, ()))


@pytest.mark.parametrize(
    ("argv", "service"),
    [
        (["docker", "run", "-p", "8000:9000", "img", "vllm", "serve", "m", "--port", "9000"], {}),
        (["vllm", "serve", "m", "--uds", "/run/v.sock"], {"ready_url": "http://127.0.0.1:80/health"}),
        (["vllm", "serve", "m", "--headless"], {"ready_url": None, "ready_log": "ready"}),
        (["./serve", "--port", "9000", "--headless"], {}),
        (["vllm", "serve", "m", "--port", "8000"], {}),
    ],
)
def test_what_may_answer_all_the_same_is_left_alone(
    tmp_path: Path, argv: list[str], service: dict[str, object]
) -> None:
    assert a_described(*argv, **service).plan(a_service_order(a_workplace(tmp_path), {}, ())).command is not None
