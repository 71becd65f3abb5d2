"""An engine's own `--config FILE`: read as the engine reads it, told by check where it is missing or broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from cases.configurations import CONCURRENCY, a_field, a_vllm_case, seen
from serviceopt_journal.errors import InvalidConfiguration
from serviceoptd.contract.orders import a_service_order, a_workplace
from serviceoptd.engines.command.engine import CommandEngine
from serviceoptd.engines.sglang import SglangEngine
from serviceoptd.engines.vllm import VllmEngine
from serviceoptd.submitting.checking import check


def an_engine(others: str) -> VllmEngine:
    command = {"port": 8000, "model": "org/m", "served_model_name": "m", "others": others}
    return VllmEngine(VllmEngine.section.model_validate({"command": command}).model_dump(mode="json"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tensor-parallel-size: [4\n", r"serve\.yaml: not YAML"),
        ("max-model-len: 4\n\tdtype: auto\n", r"not YAML \(line 2\)"),
        ("- tensor-parallel-size\n", "not a table of options"),
        ("", "not a table of options"),
        ("max-num: 4\n", "--max-num can stand for"),
        ("uds: /run/v.sock\n", "vLLM then listens on a socket file"),
        ("override-pooler-config:\n  pooling_type: MEAN\n", "embeddings, classification and reranking"),
        ("tas: embed\n", "embeddings, classification and reranking"),
    ],
)
def test_a_file_that_the_engine_would_refuse_is_told_by_check(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "serve.yaml").write_text(text)
    with pytest.raises(InvalidConfiguration, match=told):
        seen(a_vllm_case(tmp_path, others="--config serve.yaml", fields=CONCURRENCY))


def test_a_file_of_another_ending_is_told_by_check(tmp_path: Path) -> None:
    (tmp_path / "serve.json").write_text('{"tensor-parallel-size": 4}')
    with pytest.raises(InvalidConfiguration, match="reads no file of that ending"):
        seen(a_vllm_case(tmp_path, others="--config serve.json", fields=CONCURRENCY))


@pytest.mark.parametrize("others", ["--config serve.yaml", "--config=./serve.yaml", "--tensor 1 --config serve.yaml"])
def test_a_file_that_is_not_there_is_remarked(tmp_path: Path, others: str) -> None:
    told = seen(a_vllm_case(tmp_path, others=others, fields=CONCURRENCY)).remarks
    assert f"--config {tmp_path / 'serve.yaml'} does not exist here" in told
    (tmp_path / "serve.yaml").write_text("dtype: auto\n")
    assert "does not exist" not in seen(a_vllm_case(tmp_path, others=others, fields=CONCURRENCY)).remarks


def test_a_file_in_another_encoding_is_remarked(tmp_path: Path) -> None:
    (tmp_path / "serve.yaml").write_bytes("# 模型\ndtype: auto\n".encode("gbk"))
    assert (
        "cannot be read here" in seen(a_vllm_case(tmp_path, others="--config serve.yaml", fields=CONCURRENCY)).remarks
    )


def test_a_file_that_is_searched_is_read_for_each_of_its_values(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("tensor-parallel-size: 1\n")
    (tmp_path / "b.yaml").write_text("uds: /run/v.sock\n")
    field = a_field("FILE", "enum", dtype_param='["a.yaml", "b.yaml"]', value='"a.yaml"')
    told = seen(a_vllm_case(tmp_path, others="--config $FILE", fields=CONCURRENCY + field)).remarks
    assert "'b.yaml' is refused: --uds" in told


@pytest.mark.parametrize(
    ("text", "devices"),
    [
        ("tensor-parallel-size: 4\npipeline_parallel_size: '2'\n", 8),
        ("tensor-parallel: 4\npipeline: 2\n", 8),
        ("{tensor-parallel-size: 2, data-parallel-size: 2}\n", 4),
        ("tensor-parallel-size:\n  2\n", 2),
        ("tensor-parallel-size: &many 2\ndata-parallel-size: *many\n", 4),
    ],
)
def test_devices_are_counted_by_what_the_file_says_as_the_engine_reads_it(
    tmp_path: Path, text: str, devices: int
) -> None:
    place = a_workplace(tmp_path)
    (place.working_directory / "serve.yaml").write_text(text)
    assert (an_engine("--config serve.yaml").plan(a_service_order(place)).devices or 1) == devices


def test_the_memory_rule_is_given_the_files_options_and_no_facts(tmp_path: Path) -> None:
    place = a_workplace(tmp_path)
    (place.working_directory / "serve.yaml").write_text("max-model-l: 4096\nhf-overrides:\n  num_hidden_layers: 2\n")
    facts = an_engine("--config serve.yaml").model_facts(place)
    assert facts.arguments["max_model_len"] == "4096"
    assert "hf_overrides" in facts.arguments
    assert facts.weights is None


@pytest.mark.parametrize("engine", ["vllm", "sglang", "command"])
def test_what_the_file_holds_is_part_of_what_a_measured_value_depends_on(tmp_path: Path, engine: str) -> None:
    place = a_workplace(tmp_path)
    file = place.working_directory / "serve.yaml"
    file.write_text("max-model-len: 4096\n")
    line = {"argv": ["vllm", "serve", "m", "--config", "serve.yaml"], "port": 8000, "ready_url": "/health"}
    command = {"model": "org/m", "served_model_name": "m", "others": "--config serve.yaml"}
    of_sglang = SglangEngine.section.model_validate({"command": command}).model_dump(mode="json")
    engines = {
        "vllm": an_engine("--config serve.yaml"),
        "sglang": SglangEngine(of_sglang),
        "command": CommandEngine({"service": line}),
    }
    before = engines[engine].identity(place)
    file.write_text("max-model-len: 8192\n")
    assert engines[engine].identity(place) != before
    assert "config_file" not in an_engine("--dtype auto").identity(place)


SIMULATED = "[simulated]\nmodel = 'm.json'\n[search]\nsimulation = true\n"


def test_a_file_that_the_simulator_does_not_see_is_remarked(tmp_path: Path) -> None:
    (tmp_path / "serve.yaml").write_text("max-model-len: 4096\n")
    told = [
        [str(remark) for remark in check(a_vllm_case(tmp_path, others="--config serve.yaml", fields=fields),
                                         environment={}, working_directory=tmp_path).remarks]
        for fields in (CONCURRENCY + SIMULATED, CONCURRENCY + SIMULATED + "[simulated.limits]\nmax_model_len = 4096\n")
    ]  # fmt: skip
    assert [any("serve.yaml are not simulated" in remark for remark in each) for each in told] == [True, False]


@pytest.mark.parametrize("others", ["--config bench.yaml", "--seed 1 --config=bench.yaml"])
def test_a_file_of_options_ends_the_client_of_vllm_and_is_refused(tmp_path: Path, others: str) -> None:
    (tmp_path / "bench.yaml").write_text("base-url: http://10.0.0.9:1\n")
    with pytest.raises(InvalidConfiguration, match="`vllm bench serve` reads no file of options"):
        seen(a_vllm_case(tmp_path, client_others=others))
