"""Files of the predecessor and of its successor load: what needs nothing here is accepted and told, once for each reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serviceopt_journal.errors import InvalidConfiguration
from serviceoptd.benchmarks.vllm_benchmark.client import VllmBenchmark
from serviceoptd.config.load import Loaded, load_text
from serviceoptd.config.predecessor_keys import OF_ANY_SECTION, OF_SECTIONS, TOP
from serviceoptd.config.problems import ConfigurationErrors
from serviceoptd.contract.orders import a_measurement_order, a_workplace

TERNARY = """
[[vllm.target_field]]
name = "tp"
dtype = "int"
min = 1
max = 4
[[vllm.target_field]]
name = "pp"
dtype = "int"
min = 1
max = 4
[[vllm.target_field]]
name = "dp"
dtype = "ternary_factories"
dtype_param = {{target_names = ["tp", "pp"], product = 16, dtype = "int", {further}}}
"""
PAGE = Path(__file__).parents[2] / "docs" / "migration.md"


def loaded(text: str) -> Loaded:
    return load_text(text, Path("config.toml"), engine="vllm", benchmark="vllm_benchmark", environment={})


def told(found: Loaded) -> list[str]:
    return [str(warning) for warning in found.warnings if "accepted, without effect" in str(warning)]


@pytest.mark.parametrize("key", TOP)
def test_a_key_at_the_top_is_accepted_and_told(key: str) -> None:
    (said,) = told(loaded(f"{key} = 1"))
    assert said == f"config.toml:1: {key}: accepted, without effect; {TOP[key]}"


@pytest.mark.parametrize("path", OF_SECTIONS, ids=".".join)
def test_a_key_of_a_table_is_accepted_and_told(path: tuple[str, ...]) -> None:
    *table, key = path
    (said,) = told(loaded(f'[{".".join(table)}]\n{key} = "x"'))
    assert said == f"config.toml:2: {'.'.join(path)}: accepted, without effect; {OF_SECTIONS[path]}"


def test_what_has_one_reason_is_told_in_one_line_and_in_every_table() -> None:
    text = "".join(f'[{table}]\noutput = "a"\nwork_path = "b"\n' for table in ("vllm", "vllm_benchmark", "mindie"))
    said = told(loaded(text))
    assert len(said) == 2
    assert all("vllm" in line and "mindie" in line for line in said)


def test_the_same_key_where_it_means_something_is_not_taken_out() -> None:
    assert "process_name" in OF_ANY_SECTION
    assert not told(loaded('[mindie]\nprocess_name = "mindie"'))


def test_a_misspelt_key_is_still_an_error() -> None:
    with pytest.raises(ConfigurationErrors, match=r"vllm\.work_pth: unknown key"):
        loaded('[vllm]\nwork_pth = "x"')


@pytest.mark.parametrize(
    "further", ['priority_policy = "fixed", priority = ["pp", "tp"]', 'priority_policy = "balanced"']
)
def test_the_successors_order_of_repairs_is_accepted(further: str) -> None:
    assert len(loaded(TERNARY.format(further=further)).settings.fields) >= 3


@pytest.mark.parametrize(
    ("further", "said"),
    [
        ('priority_policy = "first"', "priority_policy is 'first'; allowed: balanced, fixed"),
        ('priority = ["tp", "dp"]', "priority must list tp and pp"),
        ("prioritiy = 1", "has the unknown keys prioritiy"),
    ],
)
def test_what_is_wrong_with_it_is_told(further: str, said: str) -> None:
    with pytest.raises(ConfigurationErrors) as refused:
        loaded(TERNARY.format(further=further))
    assert said in refused.value.message


def command_of(tmp_path: Path, **command: Any) -> list[str]:
    order = a_measurement_order(a_workplace(tmp_path))
    client = VllmBenchmark({"command": {"port": 8000, "model": "/m", "served_model_name": "q", **command}})
    return list(client.plan(order).command.argv)


def test_the_backend_reaches_the_client(tmp_path: Path) -> None:
    argv = command_of(tmp_path, dataset_name="random", backend="openai-chat")
    assert argv[argv.index("--backend") + 1] == "openai-chat"
    assert "--backend" not in command_of(tmp_path, dataset_name="random")
    others = command_of(tmp_path, dataset_name="random", backend="vllm", others="--backend openai")
    assert others.count("--backend") == 1


def test_flags_that_the_table_decides_are_told_with_the_keys_to_use(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration) as refused:
        command_of(tmp_path, dataset_name="custom", others="--dataset-path prompts.json --num-prompts 1000")
    assert (
        refused.value.message
        == "--dataset-path and --num-prompts are given twice: by [vllm_benchmark.command] and by others"
    )
    assert '`dataset_path = "prompts.json"`, `num_prompts = 1000`' in refused.value.hint


def test_the_page_lists_every_such_key() -> None:
    page = PAGE.read_text()
    keys = {*TOP, *OF_ANY_SECTION, *(path[-1] for path in OF_SECTIONS), "priority_policy", "priority", "backend"}
    assert sorted(key for key in keys if f"`{key}`" not in page) == []
