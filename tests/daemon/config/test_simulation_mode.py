"""The predecessor's two variables: who answers is another, the rest of the configuration means what it means."""

from __future__ import annotations

from typing import Any

import pytest

from serviceoptd.config.load import Loaded, load_text
from serviceoptd.config.problems import ConfigurationErrors

BOTH = {"MODEL_EVAL_STATE_ALL": "True", "MODEL_EVAL_STATE_IS_SLEEP_FLAG": "True"}
HIS = """
ttft_slo = 1
[vllm.command]
model = "model_path"
port = "port"
[[vllm.target_field]]
name = "MAX_NUM_SEQS"
config_position = "env"
min = 8
max = 64
dtype = "int"
[vllm_benchmark.command]
num_prompts = 700
[[vllm_benchmark.target_field]]
name = "CONCURRENCY"
config_position = "env"
min = 1
max = 50
dtype = "int"
[vllm_benchmark.performance_config]
time_to_first_token = "p99"
"""
MODEL = '[simulated]\nmodel = "latency_model.json"\n'


def load(text: str, engine: str | None = None, benchmark: str | None = None, environment: Any = None) -> Loaded:
    return load_text(text, engine=engine, benchmark=benchmark, environment=environment or {})


def refused(text: str, **options: Any) -> list[str]:
    with pytest.raises(ConfigurationErrors) as errors:
        load(text, **options)
    return [str(problem) for problem in errors.value.problems]


def test_one_variable_alone_does_nothing() -> None:
    assert load(HIS, engine="vllm", environment={"MODEL_EVAL_STATE_ALL": "True"}).settings.engine == "vllm"


def test_without_a_model_it_is_refused_and_told_how_to_make_one() -> None:
    for text in ("", HIS, "[simulated]\nnum_prompts = 5\n"):
        (message,) = refused(text, environment=BOTH)
        assert message.startswith("environment: MODEL_EVAL_STATE_ALL and MODEL_EVAL_STATE_IS_SLEEP_FLAG: ask for sim")
        assert "`serviceoptctl train`" in message


def test_the_fields_and_the_objective_of_the_real_pair_are_searched_in_simulation() -> None:
    settings = load(HIS + MODEL, engine="vllm", environment=BOTH).settings
    assert (settings.engine, settings.benchmark) == ("simulated", "simulated")
    assert {field.name: (field.min, field.max) for field in settings.fields} == {
        "MAX_NUM_SEQS": (8, 64), "CONCURRENCY": (1, 50),
    }  # fmt: skip
    assert [(slo.metric, slo.statistic) for slo in settings.objective.slos] == [("ttft", "p99")]
    assert settings.engine_options["model"] == "latency_model.json"
    assert settings.num_prompts == 700


def test_the_scheduler_is_the_engines_and_the_file_wins() -> None:
    for engine, benchmark, scheduler in (("vllm", "vllm_benchmark", "vllm"), ("mindie", "ais_bench", "mindie")):
        loaded = load(MODEL, engine=engine, benchmark=benchmark, environment=BOTH)
        assert loaded.settings.engine_options["scheduler"] == scheduler
    loaded = load(MODEL + 'scheduler = "vllm"\nnum_prompts = 9\n', engine="mindie", environment=BOTH)
    assert loaded.settings.engine_options["scheduler"] == "vllm"
    assert loaded.settings.num_prompts == 9


def test_it_says_so_and_asks_for_nothing_that_only_a_real_service_needs() -> None:
    loaded = load(HIS + MODEL, engine="vllm", environment=BOTH)
    assert loaded.placeholders == ()
    assert "simulation mode: nothing is started or measured, latency_model.json predicts" in str(loaded.warnings[0])


def test_what_is_wrong_in_the_tables_of_the_real_pair_is_wrong_in_simulation_too() -> None:
    (message,) = refused(HIS.replace("num_prompts = 700", "num_promts = 700") + MODEL, engine="vllm", environment=BOTH)
    assert "vllm_benchmark.command.num_promts" in message


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('scheduler = "vllm"\nkv_blocks = 5', "simulated.kv_blocks: unknown key"),
        ("limits = { kv_blockz = 5 }", "unknown limit kv_blockz"),
        ("range_ratio = 0.5", "range_ratio: has an effect only with `model`"),
        ('model = "m.json"\nrange_ratio = 1.5', "simulated.range_ratio"),
        ('model = "m.json"\nscheduler = "sglang"', "simulated.scheduler"),
    ],
)
def test_mistakes_in_the_table_are_named(table: str, said: str) -> None:
    (message,) = refused("[simulated]\n" + table)
    assert said in message


ADVISED = HIS.replace("ttft_slo = 1\n", "ttft_slo = 1\n[search]\nsimulation = true\n") + MODEL


def test_a_search_that_measures_may_be_advised_and_then_has_the_rule() -> None:
    settings = load(ADVISED, engine="vllm").settings
    assert settings.engine == "vllm"
    assert settings.search.simulation["model"] == "latency_model.json"
    assert settings.search.simulation["num_prompts"] == 700
    assert settings.search.simulation["scheduler"] == "vllm"
    assert settings.search.rules == ("declared", "memory", "latency_bound", "simulated")
    chosen = ADVISED.replace("simulation = true", 'simulation = true\nrules = ["memory"]')
    assert load(chosen, engine="vllm").settings.search.rules == ("memory",)


def test_without_being_asked_and_in_simulation_mode_nothing_advises() -> None:
    assert load(HIS + MODEL, engine="vllm").settings.search.simulation == {}
    assert load(ADVISED, engine="vllm", environment=BOTH).settings.search.simulation == {}


@pytest.mark.parametrize(
    ("text", "engine", "message"),
    [
        (ADVISED.replace(MODEL, ""), "vllm", "search.simulation: needs a trained latency model"),
        (ADVISED, "simulated", "search.simulation: the engine is the simulated one already"),
        ("per_device = true\n" + ADVISED, "vllm", "search.simulation: the simulator does not know"),
    ],
)
def test_a_search_that_cannot_be_advised_is_refused(text: str, engine: str, message: str) -> None:
    (problem,) = refused(text, engine=engine)
    assert message in problem


def a_real_pair(dataset: str, client: str, service: str, table: str = "") -> str:
    text = HIS.replace("num_prompts = 700", f'num_prompts = 700\ndataset_name = "{dataset}"\nothers = "{client}"')
    return text.replace('port = "port"', f'port = "port"\nothers = "{service}"', 1) + MODEL + table


@pytest.mark.parametrize(
    ("dataset", "client", "expected"),
    [
        ("random", "", (1024, 128, 0.0)),
        ("random", "--random-input-len 512 --random-output-len=64 --random-range-ratio 0.25", (512, 64, 0.25)),
        ("random", "--input-len 300 --output-len 30 --random-input-len 9", (300, 30, 0.0)),
        ("random", "--random-input 512 --random-out 64 --random-range 0.25", (512, 64, 0.25)),
        ("sonnet", "--sonnet-input-len 600 --sonnet-prefix-len 100", (500, 150, 0.0)),
        ("prefix_repetition", "--prefix-repetition-suffix-len 44", (44, 128, 0.0)),
        ("prefix_repetition", "--prefix-repetition-output-len 7 --output-len 9", (256, 9, 0.0)),
    ],
)
def test_the_requests_of_the_configured_client_are_simulated(
    dataset: str, client: str, expected: tuple[int, int, float]
) -> None:
    loaded = load(a_real_pair(dataset, client, ""), engine="vllm", environment=BOTH)
    options = loaded.settings.engine_options
    assert (options["input_tokens"], options["output_tokens"], options["range_ratio"]) == expected
    assert not any("lengths of requests" in str(warning) for warning in loaded.warnings)


def test_arrivals_and_limits_come_from_the_configured_pair_and_the_table_wins() -> None:
    client = "--random-prefix-len 64 --burstiness 0.5 --request-rate 3 --max-concurrency 20"
    service = "--max-model-len 32k --block-size 128 --no-enable-chunked-prefill"
    options = load(a_real_pair("random", client, service), engine="vllm", environment=BOTH).settings.engine_options
    assert options["limits"] == {
        "max_model_len": 32000, "block_size": 128, "enable_chunked_prefill": False, "enable_prefix_caching": True,
    }  # fmt: skip
    assert (options["prefix_tokens"], options["burstiness"]) == (64, 0.5)
    assert (options["request_rate"], options["concurrency"]) == (3.0, 20)
    own = "input_tokens = 7\nburstiness = 2.0\n[simulated.limits]\nblock_size = 32\n"
    options = load(a_real_pair("random", client, service, own), engine="vllm", environment=BOTH).settings.engine_options
    assert (options["input_tokens"], options["burstiness"], options["limits"]["block_size"]) == (7, 2.0, 32)
    assert options["limits"]["max_model_len"] == 32000


def test_abbreviated_flags_and_references_to_fields_are_the_configured_pairs_too() -> None:
    service = "--max-model 32k --block-s $BLOCKS"
    loaded = load(a_real_pair("random", "--burst 0.5 --max-conc 20", service), engine="vllm", environment=BOTH)
    options = loaded.settings.engine_options
    assert options["limits"] == {"max_model_len": 32000, "block_size": "$BLOCKS"}
    assert (options["burstiness"], options["concurrency"]) == (0.5, 20)


def test_lengths_that_differ_from_one_configuration_to_the_next_are_asked_for() -> None:
    loaded = load(a_real_pair("random", "--random-input-len $PROMPT", ""), engine="vllm", environment=BOTH)
    (asked,) = [warning for warning in map(str, loaded.warnings) if "the lengths of requests are not known" in warning]
    assert "not known from --random-input-len $PROMPT" in asked


@pytest.mark.parametrize(
    ("table", "asks"), [("", True), ("input_tokens = 5\noutput_tokens = 6\n", False), ('lengths = "l.csv"\n', False)]
)
def test_lengths_that_nobody_can_tell_are_asked_for(table: str, asks: bool) -> None:
    for text, environment in ((a_real_pair("sharegpt", "", "", table), BOTH), (ADVISED + table, {})):
        warnings = [str(warning) for warning in load(text, engine="vllm", environment=environment).warnings]
        asked = [warning for warning in warnings if "the lengths of requests are not known" in warning]
        assert bool(asked) is asks
        assert all("`lengths`" in warning for warning in asked)


@pytest.mark.parametrize(("strategy", "said"), [("pso", 1), ("random", 1), ("swarm", 0)])
def test_a_strategy_that_takes_no_advice_says_so_once(strategy: str, said: int) -> None:
    text = ADVISED.replace("simulation = true", f'simulation = true\nstrategy = "{strategy}"')
    warnings = [str(warning) for warning in load(text, engine="vllm").warnings]
    assert sum("takes no first configurations from the simulator" in warning for warning in warnings) == said


def in_a_file(kind: str, client: str = "", table: str = "", model: str = "models/m") -> str:
    named = f'dataset_name = "{kind}"\ndataset_path = "data/d.jsonl"\nmodel = "{model}"'
    return a_real_pair(kind, client, "", table).replace(f'dataset_name = "{kind}"', named)


@pytest.mark.parametrize(
    ("kind", "client", "expected"),
    [
        ("custom", "--skip-chat-template", {"output_tokens": 256}),
        ("custom", "--custom-output-len 9", {"output_tokens": 9, "client_template": True}),
        ("custom", "--custom-output-len -1 --disable-shuffle --skip-chat", {"shuffled": False}),
        ("custom", "--output-len 8 --tokenizer ./t --custom-skip", {"output_tokens": 8, "tokenizer": "./t"}),
        ("custom", "--backend openai-chat", {"output_tokens": 256, "client_template": True, "chat": True}),
        ("sharegpt", "", {}),
        ("sharegpt", "--backend openai-chat", {"chat": True}),
        ("spec_bench", "--spec-bench-category qa", {"output_tokens": 256, "category": "qa", "client_template": True}),
        ("timed_trace", "", {"shuffled": False, "second": 1.0}),
        ("timed_trace", "--no-self-timed --timed-trace-chunk 512", {"shuffled": False, "hashed": 512}),
        ("sharegpt", "--sharegpt-output-len=5", {"output_tokens": 5}),
        ("burstgpt", "--output-len 8 --disable-shuffle", {}),
    ],
)
def test_a_data_set_in_a_file_is_named_with_what_the_client_takes_of_it(
    kind: str, client: str, expected: dict[str, Any]
) -> None:
    named = {"path": "data/d.jsonl", "kind": kind, "tokenizer": "models/m", **expected}
    loaded = load(in_a_file(kind, client), engine="vllm", environment=BOTH)
    assert loaded.settings.engine_options["data_set"] == named
    assert not any("lengths of requests" in str(warning) for warning in loaded.warnings)
    advised = in_a_file(kind, client).replace("ttft_slo = 1\n", "ttft_slo = 1\n[search]\nsimulation = true\n")
    assert load(advised, engine="vllm").settings.search.simulation["data_set"] == named


@pytest.mark.parametrize(
    ("table", "asks"),
    [("input_tokens = 5\noutput_tokens = 6\n", False), ('lengths = "l.csv"\n', False), ("input_tokens = 5\n", True)],
)
def test_lengths_of_the_table_win_over_the_clients_data_set(table: str, asks: bool) -> None:
    loaded = load(in_a_file("sharegpt", "", table), engine="vllm", environment=BOTH)
    assert "data_set" not in loaded.settings.engine_options
    asked = [str(warning) for warning in loaded.warnings if "the lengths of requests are not known" in str(warning)]
    assert len(asked) == asks
    assert all("not known from input_tokens alone" in warning for warning in asked)


def test_a_data_set_of_the_table_wins_over_the_clients_requests() -> None:
    own = '[simulated.data_set]\npath = "other.csv"\nkind = "burstgpt"\n'
    for text in (in_a_file("sharegpt", "", own), a_real_pair("random", "--random-prefix-len 5", "", own)):
        options = load(text, engine="vllm", environment=BOTH).settings.engine_options
        assert (options["data_set"]["path"], options.get("prefix_tokens", 0)) == ("other.csv", 0)


def simulated(text: str, client: str = "vllm_benchmark") -> tuple[dict[str, Any], str]:
    """Keys of `[simulated]` that are in effect, and everything that is said of them."""
    loaded = load(text, engine="vllm", benchmark=client, environment=BOTH)
    return loaded.settings.engine_options, "\n".join(map(str, loaded.warnings))


def test_inputs_and_outputs_may_be_spread_apart() -> None:
    ratio = '\'{\\"input\\": 0.25, \\"output\\": 0.5}\''
    client = f"--random-input-len 100 --random-output-len 10 --random-range-ratio {ratio}"
    options, _ = simulated(a_real_pair("random", client, ""))
    spread = {key: options[f"{key}_distribution"] for key in ("input", "output")}
    assert [(spread[key]["kind"], spread[key]["min"], spread[key]["max"]) for key in spread] == [
        ("uniform", 75, 125), ("uniform", 5, 15),
    ]  # fmt: skip
    options, _ = simulated(a_real_pair("random", client, "", "input_tokens = 7\n"))
    assert (options["input_tokens"], options.get("input_distribution")) == (7, None)
    assert options["output_distribution"]["max"] == 15


def test_several_shared_prefixes_are_simulated_with_prefix_caching() -> None:
    client = "--prefix-repetition-prefix-len 300 --prefix-repetition-num-prefixes 7"
    options, _ = simulated(a_real_pair("prefix_repetition", client, ""))
    assert (options["input_tokens"], options["prefix_tokens"], options["prefixes"]) == (256, 300, 7)
    assert options["limits"] == {"enable_prefix_caching": True}


@pytest.mark.parametrize(
    ("client", "unknown"),
    [
        ("--random-range-ratio 1.5", "--random-range-ratio 1.5"),
        ("--random-range-ratio nan", "--random-range-ratio nan"),
        ("--random-range-ratio [", "--random-range-ratio ["),
        ("--random-output-len 0", "--random-output-len 0"),
        ("--random-input-len=-3", "--random-input-len -3"),
        ("--random-prefix-len $P", "--random-prefix-len $P"),
    ],
)
def test_flags_that_tell_no_length_are_asked_for(client: str, unknown: str) -> None:
    _, said = simulated(a_real_pair("random", client, ""))
    assert f"the lengths of requests are not known from {unknown};" in said


@pytest.mark.parametrize(
    ("dataset", "why"),
    [("random-mm", "images and sounds have as many tokens"), ("hf", "images and sounds"), ("own", "its texts")],
)
def test_data_sets_whose_lengths_the_model_decides_are_asked_for_with_the_reason(dataset: str, why: str) -> None:
    _, said = simulated(a_real_pair(dataset, "", ""))
    assert f'not known from the data set "{dataset}"' in said
    assert why in said


def test_a_rate_that_grows_and_gaps_that_are_equal_are_simulated() -> None:
    client = "--ramp-up-strategy linear --ramp-up-start-rps 1 --ramp-up-end-rps 9 --burstiness inf"
    options, said = simulated(a_real_pair("random", client, ""))
    assert {key: options["ramp_up"][key] for key in ("strategy", "start", "end")} == {
        "strategy": "linear", "start": 1.0, "end": 9.0,
    }  # fmt: skip
    assert options["burstiness"] == 1e9
    assert "not simulated" not in said
    options, _ = simulated(a_real_pair("random", client, "", "request_rate = 4\n"))
    assert (options["request_rate"], options.get("ramp_up")) == (4, None)


@pytest.mark.parametrize(
    ("client", "said"),
    [
        (
            "--ramp-up-strategy linear --ramp-up-start-rps $A --ramp-up-end-rps 9",
            "--ramp-up-strategy linear with its rates",
        ),
        ("--burstiness $BURSTS", "--burstiness $BURSTS"),
        ("--probe-request-rate 2", "probes beside the measured requests (--probe-request-rate)"),
        ("--lora-modules a b", "LoRA modules (--lora-modules)"),
        ("--no-oversample", "fewer requests than num_prompts (--no-oversample)"),
    ],
)
def test_what_is_configured_and_not_simulated_is_said(client: str, said: str) -> None:
    _, told = simulated(a_real_pair("random", client, ""))
    assert f"not simulated: {said}" in told
    _, told = simulated(a_real_pair("random", "--request-rate $REQUESTRATE --max-concurrency $CONCURRENCY", ""))
    assert "not simulated" not in told


@pytest.mark.parametrize(
    ("service", "said"),
    [
        ("--data-parallel-size 2 --pipeline-parallel 3", "--data-parallel-size 2; --pipeline-parallel-size 3"),
        ("--speculative-config $SPECULATIVE", "--speculative-config $SPECULATIVE"),
        ("--enable-lora", "--enable-lora true"),
        ("--data-parallel-size 1 --no-enable-lora --max-model-len 4096", ""),
    ],
)
def test_options_of_the_engine_that_no_scheduler_here_knows_are_said(service: str, said: str) -> None:
    _, told = simulated(a_real_pair("random", "", service))
    assert (f"not simulated: {said}" in told) is bool(said)
    assert bool(said) is ("not simulated" in told)


def test_asynchronous_scheduling_is_asked_for_until_it_is_told() -> None:
    asks = "asynchronous scheduling is off, which vLLM has by default, except on CPUs"
    for service, table, asked in (
        ("", "", True),
        ("--async-scheduling", "", False),
        ("", "limits = { async_scheduling = false }\n", False),
    ):
        _, told = simulated(a_real_pair("random", "", service, table))
        assert (asks in told) is asked


@pytest.mark.parametrize(
    ("kind", "client", "says"),
    [
        ("sharegpt", "", True), ("sharegpt", "--ignore-eos", False), ("custom", "--ignore", False), ("burstgpt", "", False),
        ("timed_trace", "", False), ("spec_bench", "", True),
    ],
)  # fmt: skip
def test_answers_that_may_end_sooner_are_said_where_the_client_lets_them(kind: str, client: str, says: bool) -> None:
    _, said = simulated(in_a_file(kind, client))
    assert ("an answer's end before its last token" in said) is says


def test_a_chat_is_simulated_with_the_template_of_the_clients_model() -> None:
    text = in_a_file("random", "--backend openai-chat").replace('dataset_path = "data/d.jsonl"\n', "")
    options, said = simulated(text)
    assert options["chat_template"] == "models/m"
    assert "--chat-template" not in said
    _, said = simulated(text.replace('others = ""', 'others = "--chat-template own.jinja"'))
    assert "not simulated: the service's --chat-template own.jinja" in said


def of_guidellm(data: str, more: str = "") -> str:
    text = HIS.replace("[vllm_benchmark.command]\nnum_prompts = 700\n", "").replace("vllm_benchmark", "guidellm")
    return f'{text}\n[guidellm.command]\nmodel = "models/m"\ndata = {data}\n{more}{MODEL}'


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("", {"input_tokens": 90, "output_tokens": 9}),
        (", prompt_tokens_stdev = 10", {"input_distribution": ("normal", 40, 140, 90.0, 10.0)}),
        (", output_tokens_min = 2, output_tokens_max = 50", {"output_distribution": ("uniform", 2, 50, 0.0, 0.0)}),
        (", output_tokens_stdev = 4, output_tokens_max = 12", {"output_distribution": ("normal", 1, 12, 9.0, 4.0)}),
        (", prefix_tokens = 64, prefix_count = 3", {"prefix_tokens": 64, "prefixes": 3}),
        (", prefix_buckets = [{ prefix_tokens = 5 }]", {"prefix_tokens": 5}),
        (", turns = 3", {"turns": 3}),
    ],
)
def test_guidellms_synthetic_texts_are_simulated_as_they_are_spread(data: str, expected: dict[str, Any]) -> None:
    written = f'{{ kind = "synthetic_text", prompt_tokens = 90, output_tokens = 9{data} }}'
    options, said = simulated(of_guidellm(written), "guidellm")
    for key, value in expected.items():
        found = options[key]
        if isinstance(value, tuple):
            found = tuple(found.get(name, 0.0) for name in ("kind", "min", "max", "mean", "deviation"))
        assert found == value
    assert options["chat_template"] == "models/m"
    assert "lengths of requests" not in said
    plain, _ = simulated(of_guidellm(written, 'request_format = "/v1/completions"\n'), "guidellm")
    assert plain.get("chat_template") is None


@pytest.mark.parametrize(
    ("data", "unknown"),
    [
        ("prompt_tokens = 90", "the data of guidellm without `output_tokens`"),
        ("prompt_tokens = 9, output_tokens = 9, prompt_tokens_min = 50", "spread from 50 to 9"),
        ("prompt_tokens = 9, output_tokens = 9, prefix_buckets = [{}, {}]", "several `prefix_buckets`"),
        ("prompt_tokens = 9, output_tokens = 9, output_tokens_stdev = 0.5", "is not a whole number above 0"),
    ],
)
def test_data_of_guidellm_that_tell_no_length_are_asked_for(data: str, unknown: str) -> None:
    _, said = simulated(of_guidellm(f'{{ kind = "synthetic_text", {data} }}'), "guidellm")
    assert "the lengths of requests are not known from" in said
    assert unknown in said


def test_the_rows_of_guidellms_file_are_named_with_its_columns() -> None:
    data = '{ kind = "json_file", path = "g.jsonl" }'
    options, _ = simulated(of_guidellm(data), "guidellm")
    named = {"path": "g.jsonl", "kind": "guidellm", "shuffled": False, "tokenizer": "models/m", "chat": True}
    assert options["data_set"] == named
    mapper = """others = '--data-column-mapper {\\"column_mappings\\":{\\"text_column\\":\\"q\\"}}'\n"""
    options, said = simulated(of_guidellm(data, mapper + "backend = { max_tokens = 50 }\n"), "guidellm")
    assert options["data_set"] == {**named, "columns": {"text_column": "q"}, "output_tokens": 50}
    assert "an answer's end before its last token" in said
    _, said = simulated(of_guidellm('{ kind = "parquet_file", path = "g.parquet" }'), "guidellm")
    assert "not known from the data of guidellm (parquet_file)" in said
