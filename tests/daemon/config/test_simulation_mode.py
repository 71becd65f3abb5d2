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
    assert "simulation mode: nothing is started or measured, latency_model.json answers" in str(loaded.warnings[0])


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
