"""A client whose requests go elsewhere measures another server: told by check, whatever words say so."""

from __future__ import annotations

from pathlib import Path

import pytest

from ais_bench_files import MODEL, a_config_directory
from cases.configurations import CONCURRENCY, a_vllm_case, seen
from serviceopt_journal.errors import InvalidConfiguration
from serviceoptd.submitting.checking import check, dry_run
from serviceoptd.toolkit.asked_address import Asked, address_in, asked_in, same_server


@pytest.mark.parametrize(
    "others",
    [
        "--base-url http://127.0.0.1:9999",
        "--base-url=http://10.0.0.9:18431",
        "--base http://127.0.0.1:9999/v1",
        "--base_url http://localhost",
        "--base-url https://127.0.0.1:18431",
    ],
)
def test_a_base_url_that_is_not_the_services_is_told_by_check(tmp_path: Path, others: str) -> None:
    with pytest.raises(InvalidConfiguration, match=r"is not the service's 127\.0\.0\.1:18431"):
        seen(a_vllm_case(tmp_path, client_others=others, fields=CONCURRENCY))


@pytest.mark.parametrize("others", ["--base-url http://127.0.0.1:18431", "--base-url http://localhost:18431/"])
def test_the_services_own_base_url_is_accepted(tmp_path: Path, others: str) -> None:
    assert "--base-url" in seen(a_vllm_case(tmp_path, client_others=others, fields=CONCURRENCY)).client


@pytest.mark.parametrize("others", ["--host 10.0.0.9", "--port 9999", "--hos x"])
def test_another_host_or_port_among_the_others_is_told_by_check(tmp_path: Path, others: str) -> None:
    with pytest.raises(InvalidConfiguration, match="is given twice"):
        seen(a_vllm_case(tmp_path, client_others=others, fields=CONCURRENCY))


def test_a_variable_with_another_address_is_told_too(tmp_path: Path) -> None:
    section = 'environment = { OPENAI_BASE_URL = "http://127.0.0.1:9999/v1" }'
    with pytest.raises(InvalidConfiguration, match=r"OPENAI_BASE_URL=http://127\.0\.0\.1:9999/v1 is not the service's"):
        seen(a_vllm_case(tmp_path, client_section=section, fields=CONCURRENCY))


AIS_BENCH = """
engine = "vllm"
benchmark = "ais_bench"
[vllm.command]
port = 8080
model = "org/model"
served_model_name = "m"
[ais_bench.command]
models = "vllm_api_stream_chat"
datasets = "gsm8k_gen_0_shot_cot_str_perf"
{more}
"""


def with_ais_bench(tmp_path: Path, model: str, more: str = "") -> None:
    names = ("vllm_api_stream_chat", "gsm8k_gen_0_shot_cot_str_perf")
    directory = a_config_directory(tmp_path / "configs", names=names)
    for file in Path(directory or tmp_path / "configs").rglob("vllm_api_stream_chat.py"):
        file.write_text(model)
    path = tmp_path / "config.toml"
    path.write_text(AIS_BENCH.format(more=more))
    checked = check(path, environment={}, working_directory=tmp_path)
    assert checked.unusable == ()
    dry_run(checked, tmp_path / "state")


GUIDELLM = """
engine = "vllm"
benchmark = "guidellm"
[vllm.command]
port = 8080
model = "org/model"
served_model_name = "m"
[guidellm]
{section}
[guidellm.command]
port = 8080
model = "org/model"
served_model_name = "m"
others = "{others}"
"""


def with_guidellm(tmp_path: Path, others: str, section: str = "") -> None:
    path = tmp_path / "config.toml"
    path.write_text(GUIDELLM.format(others=others, section=section))
    checked = check(path, environment={}, working_directory=tmp_path)
    assert checked.unusable == ()
    dry_run(checked, tmp_path / "state")


@pytest.mark.parametrize("others", ["--target http://127.0.0.1:9999", "--target=http://10.0.0.9:8080/v1"])
def test_a_target_of_guidellm_that_is_not_the_services_is_told_by_check(tmp_path: Path, others: str) -> None:
    with pytest.raises(InvalidConfiguration, match=r"--target http://\S+ is not the service's 127\.0\.0\.1:8080"):
        with_guidellm(tmp_path, others)


def test_a_variable_of_guidellm_with_another_address_is_told_too(tmp_path: Path) -> None:
    section = 'environment = { GUIDELLM__OPENAI__BASE_URL = "http://127.0.0.1:9999" }'
    with pytest.raises(InvalidConfiguration, match=r"BASE_URL=http://127\.0\.0\.1:9999 is not the service's"):
        with_guidellm(tmp_path, "", section)


def test_the_services_own_target_is_accepted(tmp_path: Path) -> None:
    with_guidellm(tmp_path, "--target http://localhost:8080")


ONLY_URL = MODEL.replace('        host_ip="localhost",\n        host_port=8080,\n', "")


@pytest.mark.parametrize(
    ("model", "more", "told"),
    [
        (MODEL.replace('url=""', 'url="http://127.0.0.1:9999/v1"'), "", 'url="http://127.0.0.1:9999/v1" is not'),
        (MODEL.replace("host_port=8080", "host_port=9999"), "", "host_port=9999 is not"),
        (MODEL.replace('host_ip="localhost"', 'host_ip="10.0.0.9"'), "", 'host_ip="10.0.0.9", host_port=8080 is not'),
        (ONLY_URL.replace('url=""', 'url="http://10.0.0.9/v1"'), 'host = "127.0.0.1"\nport = 8080', "which wins over"),
        (MODEL.replace('url=""', 'url="http://10.0.0.9/v1"'), "port = 8080", "which wins over"),
    ],
)
def test_a_file_of_aisbench_with_another_address_is_told_by_check(
    tmp_path: Path, model: str, more: str, told: str
) -> None:
    with pytest.raises(InvalidConfiguration) as refused:
        with_ais_bench(tmp_path, model, more)
    assert told in refused.value.message


@pytest.mark.parametrize(
    ("model", "more"),
    [
        (MODEL, ""),
        (MODEL.replace("host_port=8080", "host_port=1"), "port = 8080"),
        (MODEL.replace('url=""', 'url="http://127.0.0.1:8080/v1"'), ""),
        (ONLY_URL.replace('url=""', 'url="http://localhost:8080/v1"'), 'host = "127.0.0.1"\nport = 8080'),
    ],
)
def test_a_file_of_aisbench_with_the_services_address_is_accepted(tmp_path: Path, model: str, more: str) -> None:
    with_ais_bench(tmp_path, model, more)


@pytest.mark.parametrize(
    ("argv", "agrees"),
    [
        (["oha", "-c", "5", "http://127.0.0.1:9999/v1"], False),
        (["oha", "-c", "5", "http://localhost:8000/v1"], True),
        (["genai-perf", "-u", "localhost:8001"], False),
        (["genai-perf", "--url", "localhost:8000"], True),
        (["client", "--host", "127.0.0.1", "--port", "8001"], False),
        (["client", "--host", "127.0.0.1", "--port", "8000"], True),
        (["locust", "--host", "http://127.0.0.1:8000"], True),
        (["locust", "--host=http://127.0.0.1:9999"], False),
        (["client", "--host", "localhost:8000"], True),
        (["client", "--url", "http://[::1]:8000"], False),
        (["client", "--url", "http://127.0.0.2:8000"], False),
        (["client", "--tracing", "http://collector:4317"], True),
        (["bash", "-c", "client http://127.0.0.1:9999"], True),
        (["client", "--model", "org/model"], True),
    ],
)
def test_the_address_in_any_clients_command_line_is_compared(argv: list[str], *, agrees: bool) -> None:
    assert all(same_server(asked, "127.0.0.1", 8000) for asked in asked_in(argv)) is agrees


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("http://h:1/x", Asked("", "h", 1)),
        ("https://h/x", Asked("", "h", 443, tls=True)),
        ("h:1", Asked("", "h", 1)),
        ("http://[::1]:8000", Asked("", "::1", 8000)),
        ("org/model", None),
        ("http://h:port", None),
    ],
)
def test_an_address_is_read_from_a_url(url: str, found: Asked | None) -> None:
    assert address_in(url, "") == found


def test_a_described_client_is_compared_with_the_described_service(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("""
engine = "command"
benchmark = "command"
[command.service]
argv = ["./serve", "--port", "$PORT"]
port = 8000
ready_url = "/health"
[command.client]
argv = ["./bench", "--base-url", "http://127.0.0.1:9999"]
stdout = true
metrics = { generate_speed = { pattern = '(\\d+) tok', unit = "tok/s" }, throughput = { pattern = '(\\d+) req', unit = "req/s" }, completed = { pattern = '(\\d+) done' } }
[[command.target_field]]
name = "CONCURRENCY"
dtype = "int"
min = 1
max = 9
""")  # noqa: E501
    checked = check(path, environment={}, working_directory=tmp_path)
    with pytest.raises(InvalidConfiguration, match=r"--base-url http://127.0.0.1:9999 is not the service's"):
        dry_run(checked, tmp_path / "state")


@pytest.mark.parametrize(
    ("others", "client_others", "told"),
    [
        ("--headless", "--num-prompts 9", ["--headless: ", "--num-prompts is given twice"]),
        ("--port 9", "--backend vllm-rerank", ["--port is given twice", "--backend vllm-rerank: "]),
    ],
)
def test_what_the_service_and_what_the_client_refuses_is_told_in_one_pass(
    tmp_path: Path, others: str, client_others: str, told: list[str]
) -> None:
    with pytest.raises(InvalidConfiguration) as refused:
        seen(a_vllm_case(tmp_path, others=others, client_others=client_others))
    assert [line.startswith(begin) for line, begin in zip(str(refused.value).splitlines(), told, strict=True)] == [
        True,
        True,
    ]
    assert len(refused.value.hint.split("; ")) > 1
