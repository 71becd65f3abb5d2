"""A key that is spelt otherwise, or stands in the wrong table, is told with the one to use and where it goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from serviceoptd.config.load import load_text
from serviceoptd.config.problems import ConfigurationErrors

TOP = "it must stand before the first [table] of the file"


def refused(text: str) -> list[str]:
    with pytest.raises(ConfigurationErrors) as caught:
        load_text(text, Path("config.toml"), engine="vllm", benchmark="vllm_benchmark", environment={})
    return [str(problem).removeprefix("config.toml:") for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("N_PARTICLES = 3", "n_particles"),
        ("TTFT-SLO = 1", "ttft_slo"),
        ("tpotSlo = 1", "tpot_slo"),
        ('[vllm.command]\nMODEL = "x"', "model"),
        ('[vllm.command]\nservedModelName = "x"', "served_model_name"),
        ('[vllm_benchmark.command]\nDatasetPath = "x"', "dataset_path"),
        ("[VLLM]\nx = 1", "vllm"),
        ("[vllm-Benchmark]\nx = 1", "vllm_benchmark"),
        ("[proof]\nmeasurement = 3", "measurements"),
        ('[[vllm.target_field]]\nname = "A"\ndtype = "INT"\nmin = 1\nmax = 2', "int"),
    ],
)
def test_capitals_dashes_and_camel_case_do_not_hide_the_key_that_is_meant(text: str, meant: str) -> None:
    (said,) = refused(text)
    assert f"did you mean `{meant}`?" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[optimizer]\nn_particles = 3\niters = 2", "1: optimizer: there is no such table; write iters, n_particles"),
        ("[search]\nn_particles = 3", f"2: search.n_particles: unknown key; `n_particles` is a top-level key: {TOP}"),
        ("[search]\npso_top_k = 3", "2: search.pso_top_k: unknown key; `pso_top_k` belongs in [data_storage]"),
        ('[vllm]\nmodel = "x"', "2: vllm.model: unknown key; `model` belongs in [vllm.command]"),
        ('[ais_bench]\nmodels = "x"', "2: ais_bench.models: unknown key; `models` belongs in [ais_bench.command]"),
        (
            '[vllm.command]\ndataset_name = "random"',
            "2: vllm.command.dataset_name: unknown key; `dataset_name` belongs in [vllm_benchmark.command]",
        ),
        (
            "[health_check.fatal_patterns]\nx = []",
            "1: health_check.fatal_patterns: unknown key; write [health_check.service_errors.fatal_patterns] or write",
        ),
        ('[[target_field]]\nname = "A"', "1: target_field: the fields of no engine or client; write [[NAME.target_field]]"),
    ],
)  # fmt: skip
def test_a_key_in_the_wrong_table_is_told_where_it_goes(text: str, said: str) -> None:
    (problem,) = refused(text)
    assert problem.startswith(said)


@pytest.mark.parametrize(
    ("table", "key", "option"),
    [
        ("vllm", "tensor_parallel_size = 2", "--tensor-parallel-size 2"),
        ("vllm", "enablePrefixCaching = true", "--enable-prefix-caching"),
        ("vllm", 'dtype = "bfloat16"', "--dtype bfloat16"),
        ("vllm_benchmark", "random-input-len = 512", "--random-input-len 512"),
        ("vllm_benchmark", "request_rate = 3.5", "--request-rate 3.5"),
    ],
)
def test_an_option_of_the_program_among_the_keys_is_told_as_it_stands_in_others(
    table: str, key: str, option: str
) -> None:
    (said,) = refused(f"[{table}.command]\n{key}")
    assert said.endswith(f"unknown key; an option of the program stands in `others`: `{option}`")


@pytest.mark.parametrize("table", ["benchmark", "benchmark.command"])
def test_the_table_of_a_client_that_is_gone_is_told_although_the_command_line_chooses_another(table: str) -> None:
    text = f'[{table}]\nx = "y"'
    found = load_text(text, Path("config.toml"), engine="vllm", benchmark="vllm_benchmark", environment={})
    (said,) = [str(warning) for warning in found.warnings if "without effect" in str(warning)]
    assert said.startswith("config.toml:1: benchmark: accepted, without effect; the client of this name is gone")


@pytest.mark.parametrize(
    ("given", "statistic"),
    [
        ('{metric = "P99_TTFT_MS"}', "p99"), ('{metric = "p90_ttft"}', "p90"),
        ('{metric = "ttft", algorithm = "P75"}', "p75"),
        ('{metric = "time_to_first_token", algorithm = "max"}', "max"), ('{metric = "Median_TTFT_ms"}', "p50"),
    ],
)  # fmt: skip
def test_the_statistic_of_a_limit_is_read_in_any_letters(given: str, statistic: str) -> None:
    text = f"ttft_slo = 1\n[vllm_benchmark.performance_config]\ntime_to_first_token = {given}"
    found = load_text(text, engine="vllm", benchmark="vllm_benchmark", environment={})
    (slo,) = found.settings.objective.slos
    assert slo.statistic == statistic


@pytest.mark.parametrize("metric", ["ttft_p99", "p99 ttft", "TTFT (p99)", "fastest_ttft_ms"])
def test_a_statistic_that_cannot_be_read_is_not_taken_for_the_mean(metric: str) -> None:
    (said,) = refused(
        f'ttft_slo = 1\n[vllm_benchmark.performance_config]\ntime_to_first_token = {{metric = "{metric}"}}'
    )
    assert said.endswith(f'"{metric}" is not a metric; "p99_ttft_ms", or "TTFT" with `algorithm`')
