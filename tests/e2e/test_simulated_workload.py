"""What is simulated is what was configured, seen from outside: the client, its screen and its documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ais_bench_files import MODEL, a_config_directory
from serviceopt_journal import events as e
from stubs.mindie_home import a_mindie
from stubs.scenario import client, of_type, places, records, standalone, stub_run
from tokenizer_files import TEMPLATE, a_word_tokenizer, words
from trained_models import a_model_file, simulated_toml

SIMULATED = {"MODEL_EVAL_STATE_ALL": "True", "MODEL_EVAL_STATE_IS_SLEEP_FLAG": "True"}
LIMITS = '\n[simulated]\nmodel = "latency_model.json"\n[simulated.limits]\nmax_model_len = 4096\nkv_blocks = 4000\n'
SHORT = "n_particles = 2\niters = 2\nttft_slo = 2.0\n[measurement]\nrepeats = 2\n"


def test_trust_predicts_with_blocks_of_the_size_that_the_service_reported(tmp_path: Path) -> None:
    # the service has 256 blocks of 128 tokens: with 16 none of its 8192 tokens would fit, and nothing be predicted
    ended, recorded, _ = standalone(stub_run(tmp_path, service="--max-model-len 8192"))
    assert ended.returncode == 0, ended.stderr
    assert {(ready.kv_blocks, ready.kv_block_size) for ready in of_type(recorded, e.ServiceReady)} == {(256, 128)}
    a_model_file(tmp_path)
    told = client("trust", "--model", "latency_model.json", "--json", environment=places(tmp_path), cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    points = json.loads(told.stdout)["points"]
    assert points
    assert {point["refused"] for point in points} == {""}


def test_a_recommendation_beyond_the_models_training_data_has_no_probability_and_check_said_so(tmp_path: Path) -> None:
    a_model_file(tmp_path)
    file = tmp_path / "config.toml"
    file.write_text(SHORT + simulated_toml(input_tokens=4))
    checked = client("check", "-c", str(file), environment=places(tmp_path), cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
    assert checked.stderr.count("first configuration: outside the latency model's training data") == 1
    ended, _, _ = standalone(file)
    assert ended.returncode == 0, ended.stderr
    best = client("best", environment=places(tmp_path))
    assert "outside the latency model's training data" in best.stdout
    for shown in (ended.stdout, best.stdout):
        assert "probability" not in shown
    document = json.loads(client("best", "--json", environment=places(tmp_path)).stdout)
    assert document["proof"] is None


def test_a_recommendation_within_the_training_data_has_one(tmp_path: Path) -> None:
    a_model_file(tmp_path)
    file = tmp_path / "config.toml"
    file.write_text(SHORT + simulated_toml())
    ended, _, _ = standalone(file)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(client("best", "--json", environment=places(tmp_path)).stdout)["proof"] is not None


@pytest.mark.parametrize(("strategy", "times"), [("pso", 1), ("swarm", 0)])
def test_a_simulator_whose_advice_nobody_takes_says_so_once(tmp_path: Path, strategy: str, times: int) -> None:
    a_model_file(tmp_path)
    file = stub_run(tmp_path, n_particles=2, iters=1)
    file.write_text(file.read_text() + f'\n[search]\nstrategy = "{strategy}"\nsimulation = true\n' + LIMITS)
    said = "takes no first configurations from the simulator"
    checked = client("check", "-c", str(file), environment=places(tmp_path), cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
    assert checked.stderr.count(said) == times
    ended, _, _ = standalone(file)
    assert ended.returncode in (0, 11), ended.stderr
    assert (ended.stdout + ended.stderr).count(said) == times


def a_pair_with_a_file(directory: Path, data: str) -> tuple[Path, dict[str, str]]:
    """vLLM and its client with the data set `sharegpt`, to be simulated, and the environment that asks for it."""
    a_model_file(directory)
    file = stub_run(directory)
    (directory / "talks.json").write_text(data)
    a_word_tokenizer(directory / "model")
    text = file.read_text().replace('"random"', '"sharegpt"\ndataset_path = "talks.json"')
    file.write_text(text + LIMITS)
    return file, {**places(directory), **SIMULATED}


def test_check_sums_up_the_configured_data_set_and_the_run_simulates_it(tmp_path: Path) -> None:
    lengths = [(100, 30), (200, 50), (2000, 50), (2, 50)]  # the client leaves the last two out
    talks = [{"conversations": [{"value": words(one)}, {"value": words(two)}]} for one, two in lengths]
    file, environment = a_pair_with_a_file(tmp_path, json.dumps(talks))
    pair = ("-e", "vllm", "-b", "vllm_benchmark", "-c", str(file))
    checked = client("check", *pair, environment=environment, cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
    told = " ".join(checked.stderr.split())
    assert "2 requests of talks.json are simulated: prompts of 150 (P50 100, P99 200) tokens" in told
    assert "answers of 40 (P50 30, P99 50)" in told
    assert "the lengths of requests are not known" not in told
    ended = client("optimizer", *pair, "--standalone", environment=environment, cwd=tmp_path)
    assert ended.returncode in (0, 11), ended.stderr
    measured = of_type(records(tmp_path / "state"), e.MeasurementFinished)
    assert measured
    for event in measured:
        prompts, answers = event.metrics.input_tokens, event.metrics.output_tokens
        assert 24 * 100 < prompts < 24 * 200
        assert (prompts - 24 * 100) / 100 == (answers - 24 * 30) / 20, "each prompt has its own answer"


@pytest.mark.parametrize(
    "data", ['{"no": "array"}', "[" * 200_000, '[{"conversations": [{"value": 1}, {"value": 2}]}]']
)
def test_check_asks_for_the_lengths_of_a_data_set_that_it_cannot_read(tmp_path: Path, data: str) -> None:
    file, environment = a_pair_with_a_file(tmp_path, data)
    checked = client(
        "check", "-e", "vllm", "-b", "vllm_benchmark", "-c", str(file), environment=environment, cwd=tmp_path
    )
    assert checked.returncode == 0, checked.stderr
    told = " ".join(checked.stderr.split())
    assert "talks.json" in told
    assert "tokens a request are simulated in its place" in told
    assert "give `input_tokens` and `output_tokens` in [simulated], or `lengths`" in told


def simulated_run(file: Path, benchmark: str, environment: dict[str, str]) -> tuple[str, list[e.MeasurementFinished]]:
    """What `check` says in one line, and the results of a run in simulation mode."""
    pair = ("-e", "vllm", "-b", benchmark, "-c", str(file))
    checked = client("check", *pair, environment=environment, cwd=file.parent)
    assert checked.returncode == 0, checked.stderr
    ended = client("optimizer", *pair, "--standalone", environment=environment, cwd=file.parent)
    assert ended.returncode in (0, 11), ended.stderr
    measured = of_type(records(file.parent / "state"), e.MeasurementFinished)
    assert measured
    return " ".join(checked.stderr.split()), measured


def a_pair_of(client_table: str, directory: Path) -> tuple[Path, dict[str, str]]:
    """vLLM and another client, to be simulated, with a model that has a tokenizer and a chat template."""
    a_model_file(directory)
    file = stub_run(directory)
    a_word_tokenizer(directory / "model", TEMPLATE)
    text = file.read_text().replace(
        "[[vllm_benchmark.", "[[" + client_table.split("[")[1].split(".", maxsplit=1)[0] + "."
    )
    file.write_text(text + client_table + LIMITS)
    return file, {**places(directory), **SIMULATED}


def test_a_chat_has_the_templates_tokens_in_check_and_in_the_run(tmp_path: Path) -> None:
    a_model_file(tmp_path)
    file = stub_run(tmp_path, client="--backend openai-chat --random-input-len 100 --random-output-len 20")
    a_word_tokenizer(tmp_path / "model", TEMPLATE)
    file.write_text(file.read_text() + LIMITS)
    said, measured = simulated_run(file, "vllm_benchmark", {**places(tmp_path), **SIMULATED})
    assert "simulated.chat_template: adds 4 tokens to each prompt" in said
    assert {event.metrics.input_tokens for event in measured} == {24 * 104}
    (tmp_path / "model" / "chat_template.jinja").unlink()
    pair = ("-e", "vllm", "-b", "vllm_benchmark", "-c", str(file))
    checked = client("check", *pair, environment={**places(tmp_path), **SIMULATED}, cwd=tmp_path)
    assert "the chat template's tokens are not simulated" in " ".join(checked.stderr.split())


def test_guidellms_spread_lengths_are_summed_up_by_check_and_simulated(tmp_path: Path) -> None:
    table = """
[guidellm.command]
model = "model"
request_format = "/v1/completions"
num_prompts = 24
[guidellm.command.data]
kind = "synthetic_text"
prompt_tokens = 100
prompt_tokens_stdev = 20
prompt_tokens_max = 120
output_tokens = 9
output_tokens_min = 5
output_tokens_max = 15
"""
    file, environment = a_pair_of(table, tmp_path)
    said, measured = simulated_run(file, "guidellm", environment)
    assert "simulated.input_distribution: 1 to 120 tokens, normal around 100, deviation 20, are simulated" in said
    assert "simulated.output_distribution: 5 to 15 tokens, uniform, are simulated" in said
    for event in measured:
        assert 24 * 70 < event.metrics.input_tokens < 24 * 115
        assert 24 * 7 < event.metrics.output_tokens < 24 * 13


def test_a_trace_is_simulated_at_its_own_times(tmp_path: Path) -> None:
    a_model_file(tmp_path)
    file = stub_run(tmp_path)
    row = '{{"timestamp": {}, "input_length": 64, "output_length": 5, "hash_ids": [1, 2, 3, 4]}}\n'
    (tmp_path / "trace.jsonl").write_text("".join(row.format(10 * place) for place in range(24)))
    text = file.read_text().replace('"random"', '"timed_trace"\ndataset_path = "trace.jsonl"')
    file.write_text(text + LIMITS)
    said, measured = simulated_run(file, "vllm_benchmark", {**places(tmp_path), **SIMULATED})
    assert "24 requests of trace.jsonl are simulated: prompts of 64 (P50 64, P99 64) tokens" in said
    for event in measured:
        assert event.metrics.duration > 230  # the last one is sent at 230 s, whatever the load
        assert (event.metrics.input_tokens, event.metrics.output_tokens) == (24 * 64, 24 * 5)


def test_the_rows_of_guidellms_file_are_simulated(tmp_path: Path) -> None:
    table = """
[guidellm.command]
model = "model"
data = { kind = "json_file", path = "g.jsonl" }
num_prompts = 24
"""
    file, environment = a_pair_of(table, tmp_path)
    row = json.dumps({"prompt": words(100), "system": words(10), "output_tokens_count": 7})
    (tmp_path / "g.jsonl").write_text(f"{row}\n" * 24)
    said, measured = simulated_run(file, "guidellm", environment)
    tokens = 100 + 10 + 3 + 3 + 1  # two messages
    assert f"24 requests of g.jsonl are simulated: prompts of {tokens}" in said
    assert "with the chat template" in said
    assert {(m.metrics.input_tokens, m.metrics.output_tokens) for m in measured} == {(24 * tokens, 24 * 7)}


TALKS = """
from ais_bench.benchmark.datasets import ShareGPTDataset
infer = dict(
    prompt_template=dict(type=MultiTurnPromptTemplate, template=dict(
        round=[dict(role="HUMAN", prompt="{question}"), dict(role="BOT", prompt="{answer}")])),
    retriever=dict(type=ZeroRetriever), inferencer=dict(type=MultiTurnGenInferencer, infer_mode="every"))
talk_datasets = [dict(type=ShareGPTDataset, disable_shuffle=True, path="PATH", infer_cfg=infer, reader_cfg=dict(
    input_columns=["question", "answer"], output_column="answer"))]
"""


def test_each_turn_of_ais_benchs_conversations_is_simulated(tmp_path: Path) -> None:
    table = '\n[ais_bench.command]\nmodels = "chat"\ndatasets = "talks"\nnum_prompts = 12\nmodel = "model"\n'
    file, environment = a_pair_of(table, tmp_path)
    (tmp_path / "talks.json").write_text(
        json.dumps([{"conversations": [{"from": who, "value": words(50)} for who in ("human", "gpt") * 2]}] * 12)
    )
    configured = MODEL.replace("max_out_len=512", "max_out_len=20")
    a_config_directory(
        tmp_path / "configs", configured, TALKS.replace("PATH", str(tmp_path / "talks.json")), names=("chat", "talks")
    )
    said, measured = simulated_run(file, "ais_bench", environment)
    assert "24 requests in 12 conversations of talks.json are simulated" in said
    first, second = 50 + 4, 50 + 3 + 20 + 3 + 50 + 4
    assert {(m.metrics.input_tokens, m.metrics.output_tokens) for m in measured} == {(12 * (first + second), 24 * 20)}


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (MODEL.replace("ignore_eos=True", "ignore_eos=False"), "answers may end before `max_out_len` tokens"),
        ("", "AISBench's configuration: "),
    ],
)
def test_check_says_why_ais_benchs_requests_are_not_known(tmp_path: Path, model: str, why: str) -> None:
    table = '\n[ais_bench.command]\nmodels = "chat"\ndatasets = "synthetic"\nnum_prompts = 12\nmodel = "model"\n'
    file, environment = a_pair_of(table, tmp_path)
    a_config_directory(tmp_path / "configs", model)
    checked = client("check", "-e", "vllm", "-b", "ais_bench", "-c", str(file), environment=environment, cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
    told = " ".join(checked.stderr.split())
    assert "the lengths of requests are not known from" in told
    assert why in told
    assert "give `input_tokens` and `output_tokens` in [simulated], or `lengths`" in told


def mindie(directory: Path, **values: Any) -> tuple[Path, dict[str, str]]:
    """An installation of MindIE with these values in its file, and the environment that simulates it."""
    a_model_file(directory)
    file = a_mindie(directory / "mindie-service")
    text = file.read_text()
    for name, value in values.items():
        before, _, rest = text.partition(f'"{name}" : ')
        text = f'{before}"{name}" : {value}{rest[len(rest.split(",")[0].split(chr(10))[0]) :]}'
    file.write_text(text)
    configuration = directory / "config.toml"
    fields = (
        '[[mindie.target_field]]\nname = "CONCURRENCY"\nconfig_position = "env"\nmin = 2\nmax = 64\ndtype = "int"\n'
    )
    table = '[simulated]\nmodel = "latency_model.json"\ninput_tokens = 200\noutput_tokens = 40\nnum_prompts = 40\n'
    configuration.write_text(SHORT + fields + table)
    return configuration, {**places(directory), **SIMULATED, "MIES_INSTALL_PATH": str(file.parents[1])}


def test_mindies_own_limits_are_simulated(tmp_path: Path) -> None:
    file, environment = mindie(tmp_path, npuMemSize=4, maxBatchSize=60)
    ended = client("optimizer", "-e", "mindie", "-c", str(file), "--standalone", environment=environment, cwd=tmp_path)
    assert ended.returncode in (0, 11), ended.stderr
    recorded = records(tmp_path / "state")
    assert {event.kv_blocks for event in of_type(recorded, e.ServiceReady)} == {511}
    (submitted,) = of_type(recorded, e.RunSubmitted)
    assert submitted.settings["engine_options"]["limits"]["max_batch_size"] == 60


def test_blocks_that_mindies_file_does_not_fix_are_asked_for_with_their_place(tmp_path: Path) -> None:
    file, environment = mindie(tmp_path)
    ended = client("optimizer", "-e", "mindie", "-c", str(file), "--standalone", environment=environment, cwd=tmp_path)
    assert ended.returncode == 3
    told = " ".join(ended.stderr.split())
    assert "the simulated scheduler of mindie does not know npu_blocks" in told
    assert "`totalNpuBlockNums` of a running service's /v1/status" in told
