from __future__ import annotations

import json
import shlex
import tomllib
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from pydantic import ValidationError

from contract.vllm import SERVED, an_engine
from serviceopt_journal.errors import InvalidConfiguration
from serviceoptd.contract.engine import EngineContract
from serviceoptd.contract.orders import (
    VLLM_CONFIGURATION,
    VLLM_FIELDS,
    a_field,
    a_service_order,
    a_workplace,
)
from serviceoptd.domain.settings import Field
from serviceoptd.engines.vllm import VllmEngine
from serviceoptd.toolkit.interface import HttpProbe

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
FLAGS_OF_VLLM = (Path(__file__).parent / "vllm-0.32.0-flags.txt").read_text().split()


class TestVllm(EngineContract):
    engine = VllmEngine
    options: ClassVar[dict[str, Any]] = {"command": {**SERVED, "others": "--enforce-eager"}}


def test_the_command_line_is_the_manuals(tmp_path: Path) -> None:
    plan = an_engine("--max-model-len 1024 --enforce-eager").plan(a_service_order(a_workplace(tmp_path)))
    assert plan.command is not None
    assert shlex.join(plan.command.argv) == (
        "vllm serve org/model --served-model-name m --host 127.0.0.1 --port 8000 --max-num-batched-tokens 16384 "
        "--max-num-seqs 128 --max-model-len 1024 --enforce-eager"
    )
    assert plan.ready == HttpProbe("127.0.0.1", 8000, "/health")
    assert plan.listens_on == ("127.0.0.1", 8000)
    assert plan.command.environment["MAX_NUM_SEQS"] == "128"
    assert "CONCURRENCY" not in plan.command.environment


def test_flags_of_fields_that_are_not_searched_are_left_to_vllm(tmp_path: Path) -> None:
    fields = (a_field("CONCURRENCY"),)
    plan = an_engine().plan(a_service_order(a_workplace(tmp_path), {"CONCURRENCY": 5}, fields))
    assert plan.command is not None
    assert not [word for word in plan.command.argv if word.startswith("--max-num")]


def test_a_service_that_listens_everywhere_is_asked_on_this_machine(tmp_path: Path) -> None:
    engine = an_engine(command={"host": "0.0.0.0", "port": "8001"})  # noqa: S104
    plan = engine.plan(a_service_order(a_workplace(tmp_path)))
    assert plan.ready == HttpProbe("127.0.0.1", 8001, "/health")
    assert plan.listens_on == ("0.0.0.0", 8001)  # noqa: S104


def test_env_fields_are_replaced_in_others_also_inside_json(tmp_path: Path) -> None:
    others = """--compilation-config '{"sizes": [1, $MAX_NUM_SEQS]}' --kv-cache-dtype $KV"""
    fields = (*VLLM_FIELDS, a_field("KV", dtype="enum", dtype_param=["", "fp8"]))
    place = a_workplace(tmp_path)
    full = an_engine(others).plan(a_service_order(place, VLLM_CONFIGURATION | {"KV": "fp8"}, fields)).command
    less = an_engine(others).plan(a_service_order(place, VLLM_CONFIGURATION | {"KV": ""}, fields)).command
    assert full is not None
    assert less is not None
    assert json.loads(full.argv[full.argv.index("--compilation-config") + 1]) == {"sizes": [1, 128]}
    assert full.argv[-2:] == ("--kv-cache-dtype", "fp8")
    assert less.argv == full.argv[:-2]


@pytest.mark.parametrize(
    ("value", "words"), [(True, ("--enable-prefix-caching",)), (False, ("--no-enable-prefix-caching",))]
)
def test_a_searched_switch_is_rendered_on_and_off(tmp_path: Path, value: bool, words: tuple[str, ...]) -> None:
    fields = (*VLLM_FIELDS, a_field("cache", "argument:--enable-prefix-caching", dtype="bool"))
    order = a_service_order(a_workplace(tmp_path), VLLM_CONFIGURATION | {"cache": value}, fields)
    command = an_engine("--seed 1").plan(order).command
    assert command is not None
    assert command.argv[-3:] == (*words, "--seed", "1")


@pytest.mark.parametrize(
    ("others", "position"),
    [
        ("--tensor-parallel-size 2", "argument:--tensor-parallel-size"),
        ("-tp 2", "argument:--tensor-parallel-size"),
        ("--tensor_parallel_size=2", "argument:--tensor-parallel-size"),
        ("--no-enable-prefix-caching", "argument:--enable-prefix-caching"),
        ("--max-num-seqs 4", "env"),
        ("--port 1", "env"),
        ("", "argument:--max-num-seqs"),
        ("", "argument:--served-model-name"),
    ],
)
def test_a_flag_from_two_places_is_refused(tmp_path: Path, others: str, position: str) -> None:
    order = a_service_order(
        a_workplace(tmp_path), VLLM_CONFIGURATION | {"extra": 2}, (*VLLM_FIELDS, a_field("extra", position))
    )
    with pytest.raises(InvalidConfiguration, match="given twice"):
        an_engine(others).plan(order)


def test_a_load_parameter_in_the_services_arguments_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration, match=r"\$CONCURRENCY"):
        an_engine("--max-model-len $CONCURRENCY").plan(a_service_order(a_workplace(tmp_path)))


def test_a_path_into_a_configuration_file_is_refused(tmp_path: Path) -> None:
    fields = (*VLLM_FIELDS, a_field("x", "BackendConfig.ScheduleConfig.maxBatchSize"))
    with pytest.raises(InvalidConfiguration, match="x: vllm has no configuration file"):
        an_engine().plan(a_service_order(a_workplace(tmp_path), VLLM_CONFIGURATION | {"x": 1}, fields))


def test_a_token_budget_below_the_number_of_sequences_is_refused_before_the_launch(tmp_path: Path) -> None:
    order = a_service_order(a_workplace(tmp_path), VLLM_CONFIGURATION | {"MAX_NUM_BATCHED_TOKENS": 64})
    with pytest.raises(InvalidConfiguration, match=r"\(64\) must not be below MAX_NUM_SEQS \(128\)"):
        an_engine().plan(order)


def test_searching_a_service_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    order = a_service_order(a_workplace(tmp_path), managed=False)
    with pytest.raises(InvalidConfiguration, match="MAX_NUM_BATCHED_TOKENS, MAX_NUM_SEQS: cannot be searched"):
        an_engine().plan(order)


def test_fixed_parameters_of_a_service_that_is_not_ours_are_allowed(tmp_path: Path) -> None:
    fields = tuple(field if field.load else msgspec.structs.replace(field, constant=64) for field in VLLM_FIELDS)
    plan = an_engine().plan(a_service_order(a_workplace(tmp_path), fields=fields, managed=False))
    assert plan.ready == HttpProbe("127.0.0.1", 8000, "/health")


@pytest.mark.parametrize(
    ("host", "section", "resettable"),
    [
        ("127.0.0.1", {}, True),
        ("localhost", {}, True),
        ("::1", {}, True),
        ("0.0.0.0", {}, False),  # noqa: S104
        ("127.0.0.1", {"reset_prefix_cache": False}, False),
        ("127.0.0.1", {"environment": {"VLLM_SERVER_DEV_MODE": "0"}}, False),
    ],
)
def test_the_development_mode_that_resets_the_cache_is_never_opened_to_a_network(
    tmp_path: Path, host: str, section: dict[str, Any], resettable: bool
) -> None:
    plan = an_engine(command={"host": host}, **section).plan(a_service_order(a_workplace(tmp_path)))
    assert plan.command is not None
    assert (plan.command.measuring_environment == {"VLLM_SERVER_DEV_MODE": "1"}) is resettable
    assert plan.command.environment.get("VLLM_SERVER_DEV_MODE") != "1"  # no part of what is recommended to deploy
    assert (plan.reset_cache == HttpProbe(host, 8000, "/reset_prefix_cache", method="POST")) is resettable


@pytest.mark.parametrize("port", [0, 65536, "70000", True, 80.5])
def test_a_port_that_cannot_be_one_does_not_load(port: object) -> None:
    with pytest.raises(ValidationError):
        VllmEngine.section.model_validate({"command": {"port": port}})


@pytest.mark.parametrize("section", [{"comand": {}}, {"command": {"modell": "x"}}, {"command": {"others": "--x 'a"}}])
def test_misspelt_keys_and_open_quotes_do_not_load(section: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        VllmEngine.section.model_validate(section)


def test_the_number_of_blocks_is_read_from_the_metrics() -> None:
    report = (
        "# TYPE vllm:cache_config_info gauge\n"
        'vllm:cache_config_info{block_size="128",engine="0",num_cpu_blocks="None",num_gpu_blocks="4096",'
        'num_gpu_blocks_override="None"} 1.0\n'
    )
    assert an_engine().kv_blocks(report) == 4096
    assert an_engine().kv_blocks("INFO worker.py GPU blocks: 27882, CPU blocks: 2048\n") == 27882
    assert an_engine().kv_blocks('vllm:cache_config_info{num_gpu_blocks="None"} 1.0') is None


@pytest.mark.parametrize(
    ("others", "configuration", "devices"),
    [
        ("", {}, 1),
        ("--tensor-parallel-size 4", {}, 4),
        ("-tp 2 --pipeline_parallel_size=3 -dp 2", {}, 12),
        ("--tensor-parallel-size $TP", {"TP": 8}, 8),
        ("", {"tensor_parallel_size": 4}, 4),
        ("-dp 2", {"TENSOR_PARALLEL_SIZE": "2"}, 4),
    ],
)
def test_devices_are_the_product_of_the_parallel_sizes(
    others: str, configuration: dict[str, int | str], devices: int
) -> None:
    assert an_engine(others).devices(configuration) == devices  # type: ignore[arg-type]


def test_devices_of_a_field_with_another_name_are_told_by_its_flag() -> None:
    fields = [a_field("cards", "argument:--tensor-parallel-size")]
    assert an_engine().devices({"cards": 4}, fields) == 4


def test_the_default_search_space_is_the_manuals() -> None:
    fields = msgspec.convert(VllmEngine.defaults["target_field"], list[Field], strict=False)
    assert [(field.name, field.min, field.max, field.value) for field in fields] == [
        ("MAX_NUM_BATCHED_TOKENS", 8192, 65536, 8192),
        ("MAX_NUM_SEQS", 32, 512, 64),
        ("CONCURRENCY", 1, 1000, 100),
        ("REQUESTRATE", 0, 0, 0),
    ]


def test_every_flag_of_the_shipped_examples_exists_in_vllm() -> None:
    document = tomllib.loads((EXAMPLES / "vllm-options.toml").read_text())
    positions = [field.get("config_position", "env") for field in document["vllm"]["target_field"]]
    flags = [position.removeprefix("argument:") for position in positions if position != "env"]
    assert len(flags) >= 8
    assert set(flags) <= set(FLAGS_OF_VLLM)


def test_every_switch_of_the_shipped_examples_can_be_turned_off_in_vllm() -> None:
    document = tomllib.loads((EXAMPLES / "vllm-options.toml").read_text())
    switches = [f["config_position"] for f in document["vllm"]["target_field"] if f["dtype"] == "bool"]
    assert {f"--no-{switch.removeprefix('argument:--')}" for switch in switches} <= set(FLAGS_OF_VLLM)


@pytest.mark.parametrize("written", ["model", "./model", "models/../model"])
def test_a_model_beside_the_configuration_reaches_the_command_line_as_an_absolute_path(
    tmp_path: Path, written: str
) -> None:
    place = a_workplace(tmp_path)
    for name in ("model", "models"):
        (place.working_directory / name).mkdir()
    (place.working_directory / "model" / "config.json").write_text("{}")
    plan = an_engine(command={"model": written}).plan(a_service_order(place))
    assert plan.command is not None
    assert plan.command.argv[2] == str(place.working_directory / "model")
    hub = an_engine(command={"model": "Qwen/Qwen3-8B"}).plan(a_service_order(place))
    assert hub.command is not None
    assert hub.command.argv[2] == "Qwen/Qwen3-8B"


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ('vllm:cache_config_info{block_size="128",engine="0",num_gpu_blocks="256"} 1.0\n', 128),
        ('vllm:cache_config_info{cache_dtype="auto",block_size="16",num_gpu_blocks="256"} 1.0\n', 16),
        ('vllm:cache_config_info{hash_block_size="32",num_gpu_blocks="256"} 1.0\n', None),
        ("GPU blocks: 4096", None),
    ],
)
def test_the_size_of_a_block_is_read_with_their_number(report: str, expected: int | None) -> None:
    assert an_engine().kv_block_size(report) == expected
    assert an_engine().kv_blocks(report) in (256, 4096)
