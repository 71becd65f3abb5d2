"""`$NAME` in capitals for a field in small letters, names that nothing replaces, and fields that reach nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from cases.configurations import CONCURRENCY, a_field, a_vllm_case, seen
from serviceopt_journal.errors import InvalidConfiguration
from serviceoptd.benchmarks.command import CommandBenchmark
from serviceoptd.contract.orders import a_field as a_target
from serviceoptd.contract.orders import a_measurement_order, a_service_order, a_workplace
from serviceoptd.engines.command.engine import CommandEngine
from serviceoptd.engines.mindie.engine import MindieEngine
from serviceoptd.submitting.checking import check
from serviceoptd.toolkit.arguments import refuse_unknown

UTILISATION = a_field("gpu_memory_utilization", "enum", dtype_param="[0.9, 0.91, 0.92]", value="0.9") + CONCURRENCY


@pytest.mark.parametrize(
    "reference", ["$GPU_MEMORY_UTILIZATION", "${GPU_MEMORY_UTILIZATION}", "$gpu_memory_utilization"]
)
def test_a_field_in_small_letters_is_referred_to_in_capitals_and_exported_under_both(
    tmp_path: Path, reference: str
) -> None:
    found = seen(a_vllm_case(tmp_path, others=f"--gpu-memory-utilization {reference}", fields=UTILISATION))
    assert found.service[-2:] == ("--gpu-memory-utilization", "0.9")
    assert found.environment["GPU_MEMORY_UTILIZATION"] == "0.9"
    assert found.environment["gpu_memory_utilization"] == "0.9"
    assert found.remarks.count("gpu_memory_utilization") == 0


def test_a_field_whose_own_name_is_in_capitals_is_not_overruled(tmp_path: Path) -> None:
    fields = a_field("x", "int", constant="1") + a_field("X", "int", constant="2") + CONCURRENCY
    found = seen(a_vllm_case(tmp_path, others="--seed $X", fields=fields))
    assert found.service[-1] == "2"
    assert (found.environment["x"], found.environment["X"]) == ("1", "2")


def test_no_field_in_small_letters_takes_the_place_of_the_systems_variables(tmp_path: Path) -> None:
    found = seen(a_vllm_case(tmp_path, fields=a_field("path", "str", constant='"x"') + CONCURRENCY))
    assert "PATH" not in found.environment


@pytest.mark.parametrize(
    ("others", "told"),
    [
        ("--gpu-memory-utilization $GPU_MEM_UTILIZATION", r"\$GPU_MEM_UTILIZATION in \[vllm.command\] others"),
        ("--download-dir $HOME/models", r"\$HOME in"),
        ('--compilation-config {"level":$LEVEL}', r"\$LEVEL in"),
        ("--tensor-parallel-size=${TP}", r"\$\{TP\} in"),
    ],
)
def test_a_name_that_nothing_replaces_is_told_by_check(tmp_path: Path, others: str, told: str) -> None:
    with pytest.raises(InvalidConfiguration, match=f"{told}.*: nothing replaces it|{told}") as refused:
        seen(a_vllm_case(tmp_path, others=others, fields=UTILISATION))
    assert "nothing replaces it" in refused.value.message


@pytest.mark.parametrize("others", ["--burstiness $BURST", "--max-concurrency $MAXCONCURRENCY", "--seed $SEEDS"])
def test_a_name_that_nothing_replaces_in_the_clients_arguments_is_told_too(tmp_path: Path, others: str) -> None:
    with pytest.raises(InvalidConfiguration, match=r"in \[vllm_benchmark.command\] others: nothing replaces it"):
        seen(a_vllm_case(tmp_path, client_others=others, fields=CONCURRENCY))


@pytest.mark.parametrize("word", ["$MAX_NUM_SEQ", "$max_num_seqs", "${Max_Num_Seq}"])
def test_the_nearest_field_is_proposed(word: str) -> None:
    with pytest.raises(InvalidConfiguration) as refused:
        refuse_unknown([word], ["MAX_NUM_SEQS"], "others")
    assert refused.value.hint.startswith("$MAX_NUM_SEQS is the nearest")


def test_keys_of_json_that_begin_with_a_dollar_are_left_alone() -> None:
    refuse_unknown(['{"$schema": "x", "a": {"$ref" : "#/b"}}', "a$", "$1", "^x$"], [], "others")


@pytest.mark.parametrize("argv", [["./serve", "--home", "$HOME"], ["./serve", "--x=${NOTHING}"]])
def test_the_command_engine_and_client_tell_it_too(tmp_path: Path, argv: list[str]) -> None:
    service = {"argv": argv, "port": 8000, "ready_url": "/health"}
    with pytest.raises(InvalidConfiguration, match="nothing replaces it"):
        CommandEngine({"service": service}).plan(a_service_order(a_workplace(tmp_path), {}, ()))
    client = {"argv": argv, "stdout": True, "metrics": {
        name: {"pattern": r"(\d+)", "unit": unit} for name, unit in
        (("generate_speed", "tok/s"), ("throughput", "req/s"), ("completed", ""))
    }}  # fmt: skip
    with pytest.raises(InvalidConfiguration, match="nothing replaces it"):
        CommandBenchmark({"client": client}).plan(a_measurement_order(a_workplace(tmp_path)))


def test_what_a_shell_in_the_command_line_replaces_is_left_to_it(tmp_path: Path) -> None:
    service = {"argv": ["bash", "-c", "exec serve --home $HOME --port $PORT"], "port": 8000, "ready_url": "/health"}
    command = CommandEngine({"service": service}).plan(a_service_order(a_workplace(tmp_path), {}, ())).command
    assert command is not None
    assert command.argv[-1] == "exec serve --home $HOME --port 8000"


@pytest.mark.parametrize(
    ("name", "flag"),
    [
        ("TP", "--tensor-parallel-size"),
        ("tp", "--tensor-parallel-size"),
        ("DP", "--data-parallel-size"),
        ("pp", "--pipeline-parallel-size"),
        ("tensor_parallel_size", "--tensor-parallel-size"),
        ("BLOCK_SIZE", "--block-size"),
        ("Gpu_Memory_Utilization", "--gpu-memory-utilization"),
        ("maxModelLen", "--max-model-len"),
        ("MaxModelLen", "--max-model-len"),
        ("GPUMemoryUtilization", "--gpu-memory-utilization"),
        ("blocksize", "--block-size"),
        ("MaxNumSeqs", "--max-num-seqs"),
        ("tensorParallelSize", "--tensor-parallel-size"),
    ],
)
def test_a_field_that_is_named_like_an_option_and_reaches_nothing_is_remarked(
    tmp_path: Path, name: str, flag: str
) -> None:
    fields = a_field(name, "enum", dtype_param="[1, 2]", value="1") + CONCURRENCY
    found = seen(a_vllm_case(tmp_path, fields=fields))
    assert f"{name}: is exported as a variable and reaches nothing else" in found.remarks
    assert f"argument:{flag}" in found.remarks
    assert "reaches nothing" not in seen(a_vllm_case(tmp_path, others=f"--x ${name.upper()}", fields=fields)).remarks


@pytest.mark.parametrize("name", ["max_num_seqs", "Max_Num_Seqs", "MAX_NUM_SEQS"])
def test_the_fields_that_become_flags_by_their_name_do_so_in_any_case(tmp_path: Path, name: str) -> None:
    fields = a_field(name, "int", min="1", max="64", value="8") + CONCURRENCY
    found = seen(a_vllm_case(tmp_path, fields=fields))
    assert found.service[found.service.index("--max-num-seqs") + 1] == "8"
    assert "reaches nothing" not in found.remarks


def test_a_field_in_small_letters_that_an_argument_refers_to_is_given_once(tmp_path: Path) -> None:
    fields = a_field("max_num_seqs", "int", min="1", max="64", value="8") + CONCURRENCY
    found = seen(a_vllm_case(tmp_path, others="--max-num-seqs $max_num_seqs", fields=fields))
    assert found.service.count("--max-num-seqs") == 1


@pytest.mark.parametrize("name", ["VLLM_ATTENTION_BACKEND", "HCCL_BUFFSIZE", "OMP_NUM_THREADS", "my_own"])
def test_variables_that_are_no_option_are_not_remarked(tmp_path: Path, name: str) -> None:
    fields = a_field(name, "enum", dtype_param="[1, 2]", value="1") + CONCURRENCY
    assert "reaches nothing" not in seen(a_vllm_case(tmp_path, fields=fields)).remarks


def test_a_field_of_the_clients_that_reaches_nothing_is_remarked(tmp_path: Path) -> None:
    fields = a_field("burstiness", "float", table="vllm_benchmark", min="1", max="2", value="1") + CONCURRENCY
    assert "burstiness: is exported as a variable" in seen(a_vllm_case(tmp_path, fields=fields)).remarks


def test_a_field_that_no_word_of_a_described_service_refers_to_is_remarked() -> None:
    service = {"argv": ["./serve", "--batch-size", "4"], "port": 8000, "ready_url": "/health"}
    engine = CommandEngine({"service": service})
    assert [found.key for found in engine.remarks([a_target("BATCH_SIZE"), a_target("tp"), a_target("x")])] == [
        "BATCH_SIZE", "tp",
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "meant"), [("concurrency", "CONCURRENCY"), ("request_rate", "REQUESTRATE")])
def test_a_load_in_another_spelling_is_remarked_since_it_would_restart_the_service(
    tmp_path: Path, name: str, meant: str
) -> None:
    fields = a_field(name, "int", min="1", max="9", value="1") + CONCURRENCY
    assert (
        f"{name}: is a field of the service, which is launched anew for each value; the load's is called {meant}"
        in (seen(a_vllm_case(tmp_path, fields=fields)).remarks)
    )


def test_a_variable_that_nothing_replaces_is_remarked(tmp_path: Path) -> None:
    section = 'environment = { A = "$LD_LIBRARY_PATH:/x", B = "$MAX_NUM_SEQS", C = "plain" }'
    found = seen(a_vllm_case(tmp_path, section=section)).remarks
    assert "vllm.environment: A: nothing replaces $LD_LIBRARY_PATH" in found
    assert "B:" not in found


def test_a_name_that_nothing_replaces_in_the_stop_command_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration, match=r"\$CONTAINER in stop_command: nothing replaces it"):
        seen(a_vllm_case(tmp_path, section='stop_command = ["docker", "stop", "$CONTAINER"]'))
    seen(a_vllm_case(tmp_path, section='stop_command = ["sh", "-c", "kill $PID"]'))


def test_a_field_of_mindies_without_its_position_is_remarked() -> None:
    fields = [a_target("max_batch_size"), a_target("maxPreemptCount"), a_target("ATB_LLM_X"), a_target("CONCURRENCY")]
    assert [found.key for found in MindieEngine({}).remarks(fields)] == ["max_batch_size", "maxPreemptCount"]


@pytest.mark.parametrize(
    ("others", "told"),
    [
        ("--tensor-parallel-size ${TP:-4}", r"\$\{TP:-4\}"),
        ("--max-num-seqs=$(nproc)", r"\$\(nproc\)"),
        ("--download-dir ${HOME%/}", r"\$\{HOME%/\}"),
        ("--seed `date`", "`date`"),
    ],
)
def test_what_only_a_shell_would_replace_is_told_by_check(tmp_path: Path, others: str, told: str) -> None:
    with pytest.raises(InvalidConfiguration, match=f"{told} in .* no shell reads this"):
        seen(a_vllm_case(tmp_path, others=others, fields=CONCURRENCY))
    with pytest.raises(InvalidConfiguration, match=f"{told} in .* no shell reads this"):
        seen(a_vllm_case(tmp_path, client_others=others, fields=CONCURRENCY))


def test_dollars_of_regular_expressions_and_templates_are_left_alone(tmp_path: Path) -> None:
    others = "--guided-regex '^a$(b)' --chat-template '{{ x }}`y`'"
    assert seen(a_vllm_case(tmp_path, others=others, fields=CONCURRENCY)).service[-1] == "{{ x }}`y`"


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("vllm.command.model", 'model = "./model"'),
        ("vllm.command.served_model_name", 'served_model_name = "m"'),
        ("vllm_benchmark.command.dataset_name", 'dataset_name = "random"'),
        ("vllm.working_directory", "[vllm]"),
        ("vllm_benchmark.program", "[vllm_benchmark]"),
    ],
)
def test_a_name_in_a_key_in_which_nothing_is_replaced_is_told_by_check(tmp_path: Path, key: str, line: str) -> None:
    path = a_vllm_case(tmp_path, fields=CONCURRENCY)
    name = key.rpartition(".")[2]
    text = f'{name} = "$MODELS/x"' if "=" in line else f'{line}\n{name} = "${{MODELS}}/x"'
    path.write_text(path.read_text().replace(line, text, 1))
    found = [str(problem) for problem in check(path, environment={}, working_directory=tmp_path).unusable]
    assert any(f"{key}: nothing replaces $MODELS here" in line for line in found), found
