"""Flags that are abbreviated, as Python's argparse allows: seen through, or refused, wherever flags are looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

from cases.configurations import CONCURRENCY, a_field, a_vllm_case, seen
from contract.vllm import an_engine
from serviceopt_journal.errors import InvalidConfiguration
from serviceoptd.contract.orders import VLLM_CONFIGURATION, VLLM_FIELDS, a_service_order, a_workplace
from serviceoptd.contract.orders import a_field as a_target
from serviceoptd.engines.command.engine import CommandEngine
from serviceoptd.engines.sglang import SglangEngine


@pytest.mark.parametrize(
    ("others", "flag"),
    [
        ("--max-num-seq 64", "--max-num-seqs"),
        ("--max_num_batched=4096", "--max-num-batched-tokens"),
        ("--served-model x", "--served-model-name"),
        ("--por 1", "--port"),
    ],
)
def test_an_abbreviated_flag_that_the_tool_gives_too_is_given_twice(tmp_path: Path, others: str, flag: str) -> None:
    with pytest.raises(InvalidConfiguration, match=rf"{flag} is given twice: by .* and by others \(as --"):
        seen(a_vllm_case(tmp_path, others=others))


@pytest.mark.parametrize(
    ("others", "position"),
    [
        ("--tensor-parallel 4", "argument:--tensor-parallel-size"),
        ("-pc 2", "argument:--prefill-context-parallel-size"),
        ("--no-enable-prefix-cach", "argument:--enable-prefix-caching"),
        ("--gpu-memory-util 0.9", "argument:--gpu-memory-utilization"),
        ("--gpu-memory-utilization 0.9", "argument:--gpu-memory-util"),
        ("--compilation-conf.level 3", "argument:--compilation-config"),
        ("-O3", "argument:--optimization-level"),
    ],
)
def test_a_searched_flag_and_its_abbreviation_are_one(tmp_path: Path, others: str, position: str) -> None:
    order = a_service_order(
        a_workplace(tmp_path), VLLM_CONFIGURATION | {"x": 2}, (*VLLM_FIELDS, a_target("x", position))
    )
    with pytest.raises(InvalidConfiguration, match="is given twice"):
        an_engine(others).plan(order)


def test_two_parts_of_one_option_may_be_searched_beside_each_other(tmp_path: Path) -> None:
    fields = (a_target("a", "argument:--compilation-config.level"), a_target("b", "argument:--compilation-config.mode"))
    command = an_engine().plan(a_service_order(a_workplace(tmp_path), {"a": 3, "b": 1}, fields)).command
    assert command is not None
    assert command.argv[-4:] == ("--compilation-config.level", "3", "--compilation-config.mode", "1")


@pytest.mark.parametrize("others", ["--gpu-memory-util 0.9", "--model-impl auto --quantization awq", "--unheard-of 1"])
def test_what_is_given_once_reaches_the_service_as_it_was_written(tmp_path: Path, others: str) -> None:
    argv = seen(a_vllm_case(tmp_path, others=others)).service
    assert list(argv[-len(others.split()) :]) == others.split()


@pytest.mark.parametrize("others", ["--max-num 64", "--data-par 2", "--enable 1"])
def test_a_beginning_that_several_flags_share_is_refused(tmp_path: Path, others: str) -> None:
    with pytest.raises(InvalidConfiguration, match="can stand for --"):
        seen(a_vllm_case(tmp_path, others=others))


@pytest.mark.parametrize(
    ("others", "devices"),
    [
        ("--tensor-parallel 4", 4),
        ("--tensor-par=2 --pipeline 3", 6),
        ("--prefill-context-parallel-size 2 -tp 2", 4),
        ("-pcp 2 -dcp 4", 2),
        ("-t 8", 8),
    ],
)
def test_devices_are_counted_from_abbreviated_flags(others: str, devices: int) -> None:
    assert an_engine(others).devices({}) == devices


def test_model_facts_know_abbreviated_flags(tmp_path: Path) -> None:
    facts = an_engine("--tensor-parallel 4 --max-model 1024").model_facts(a_workplace(tmp_path))
    assert facts.arguments == {"tensor_parallel_size": "4", "max_model_len": "1024"}


@pytest.mark.parametrize("others", ["$PARALLEL", "--enforce-eager $PARALLEL", "--seed=1 ${PARALLEL}"])
def test_nothing_is_said_of_the_memory_where_a_value_may_hold_flags(tmp_path: Path, others: str) -> None:
    place = a_workplace(tmp_path)
    model = place.working_directory / "model"
    model.mkdir()
    (model / "config.json").write_text(
        '{"model_type": "llama", "num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 8, "vocab_size": 9}'
    )
    (model / "model.safetensors").write_bytes(b"x" * 100)
    command = {"model": "./model"}
    assert an_engine("--tensor-parallel-size $TP", command=command).model_facts(place).weights is not None
    assert an_engine(others, command=command).model_facts(place).weights is None


def test_a_file_of_options_of_vllms_own_counts_for_devices_and_the_command_line_wins(tmp_path: Path) -> None:
    place = a_workplace(tmp_path)
    (place.working_directory / "serve.yaml").write_text(
        "tensor-parallel-size: 4  # cards\npipeline_parallel_size: '2'\ncompilation-config:\n  level: 3\n"
    )
    order = a_service_order(place)
    assert an_engine("--config serve.yaml").plan(order).devices == 8
    assert an_engine("--config=serve.yaml -tp 1").plan(order).devices == 2
    assert an_engine("--config inside-a-container.yaml").plan(order).devices is None


@pytest.mark.parametrize(
    ("others", "problem"),
    [
        ("--num-prompt 10", "--num-prompts is given twice"),
        ("--max-conc 5", "--max-concurrency is given twice"),
        ("--result-dir /tmp", "--result-dir is given twice"),
        ("--save-res", "--save-result is given twice"),
        ("--random 5", "--random can stand for"),
    ],
)
def test_the_clients_abbreviated_flags_are_seen_through(tmp_path: Path, others: str, problem: str) -> None:
    with pytest.raises(InvalidConfiguration, match=problem):
        seen(a_vllm_case(tmp_path, client_others=others, fields=CONCURRENCY))


def test_what_the_user_abbreviates_takes_the_place_of_ours(tmp_path: Path) -> None:
    others = "--see 3 --metric-perc 75 --percentile-met ttft"
    argv = seen(a_vllm_case(tmp_path, client_others=others, fields=CONCURRENCY)).client
    assert "--seed" not in argv
    assert argv[argv.index("--metric-percentiles") + 1] == "50,90,95,99,75"
    assert "--metric-perc" not in argv
    assert argv[-2:] == ("--see", "3")


def test_a_clients_searched_flag_and_its_abbreviation_are_one(tmp_path: Path) -> None:
    fields = CONCURRENCY + a_field("b", "float", table="vllm_benchmark", config_position='"argument:--burstiness"',
                                   min="1", max="2", value="1")  # fmt: skip
    with pytest.raises(InvalidConfiguration, match="--burstiness is given twice"):
        seen(a_vllm_case(tmp_path, client_others="--burst 2", fields=fields))


def an_sglang(others: str) -> SglangEngine:
    command = {"model": "org/m", "served_model_name": "m", "others": others}
    return SglangEngine(SglangEngine.section.model_validate({"command": command}).model_dump(mode="json"))


def test_sglangs_abbreviated_flags_are_seen_through_too(tmp_path: Path) -> None:
    order = a_service_order(a_workplace(tmp_path), {"MAX_NUM_SEQS": 8}, (a_target("MAX_NUM_SEQS"),))
    with pytest.raises(InvalidConfiguration, match="--max-running-requests is given twice"):
        an_sglang("--max-running 4").plan(order)
    assert an_sglang("--tensor-parallel 2 --dp 2").devices({}) == 4
    assert an_sglang("--tp 4 --dp 2 --enable-dp-attention").devices({}) == 4
    with pytest.raises(InvalidConfiguration, match="--enable-metric can stand for"):
        an_sglang("--enable-metric").plan(order)


def test_a_file_of_options_of_sglangs_own_counts_too(tmp_path: Path) -> None:
    place = a_workplace(tmp_path)
    (place.working_directory / "serve.yaml").write_text("tp-size: 4\nenable-metrics: true\n")
    plan = an_sglang("--config serve.yaml").plan(a_service_order(place, {}, ()))
    assert plan.devices == 4
    assert plan.metrics is not None


@pytest.mark.parametrize("program", [["vllm", "serve", "org/m"], ["docker", "run", "img", "/opt/bin/vllm", "serve", "m"],
                                     ["python3", "-m", "vllm.entrypoints.openai.api_server"]])  # fmt: skip
def test_the_command_engine_sees_through_abbreviations_where_it_knows_the_program(
    tmp_path: Path, program: list[str]
) -> None:
    service = {"argv": [*program, "--max-num-seq", "4"], "port": 8000, "ready_url": "/health"}
    engine = CommandEngine({"service": service})
    order = a_service_order(a_workplace(tmp_path), {"x": 8}, (a_target("x", "argument:--max-num-seqs"),))
    with pytest.raises(InvalidConfiguration, match="--max-num-seqs is given twice"):
        engine.plan(order)


def test_the_command_engine_leaves_the_flags_of_an_unknown_program_alone(tmp_path: Path) -> None:
    service = {"argv": ["./serve", "--model", "m"], "port": 8000, "ready_url": "/health"}
    order = a_service_order(a_workplace(tmp_path), {"x": 8}, (a_target("x", "argument:--model-size"),))
    command = CommandEngine({"service": service}).plan(order).command
    assert command is not None
    assert command.argv[-4:] == ("--model", "m", "--model-size", "8")


@pytest.mark.parametrize("others", ["--model other", "--model=org/other"])
def test_another_model_among_the_others_is_given_twice(tmp_path: Path, others: str) -> None:
    with pytest.raises(InvalidConfiguration, match="the model is given twice"):
        seen(a_vllm_case(tmp_path, others=others))


@pytest.mark.parametrize("others", ["--cuda-graph-max-bs 64", "--torchao-config int4wo-128", "--enable-ep-moe"])
def test_flags_of_older_sglangs_are_whole_though_newer_ones_begin_like_them(tmp_path: Path, others: str) -> None:
    command = an_sglang(others).plan(a_service_order(a_workplace(tmp_path), {}, ())).command
    assert command is not None
    assert list(command.argv[-len(others.split()) :]) == others.split()


def test_every_flag_that_is_given_twice_is_told_in_one_pass(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration) as refused:
        seen(a_vllm_case(tmp_path, others="--port 9 --served-model-name z --max-num-seq 5"))
    assert [line.split(" is given twice")[0] for line in str(refused.value).splitlines()] == [
        "--port",
        "--served-model-name",
        "--max-num-seqs",
    ]
    assert (
        refused.value.hint
        == "keep one of the two --port and of the two --served-model-name and of the two --max-num-seqs"
    )
