"""The same loader with what is really installed: the built-in engines and clients, by their entry points."""

from __future__ import annotations

from pathlib import Path

import pytest

from serviceoptd.config.load import load
from serviceoptd.config.plugins import installed
from serviceoptd.config.reload import changes

EXAMPLES = sorted((Path(__file__).parents[3] / "docs" / "examples").glob("*.toml"))
DEFAULT_FILE = Path(__file__).parent / "msserviceprofiler-default.toml"


def test_every_built_in_plugin_is_usable() -> None:
    found = installed()
    assert [str(error) for error in found.broken()] == []
    assert [found.engine(name).name for name in found.engine_names] == list(found.engine_names)
    assert [found.benchmark(name).name for name in found.benchmark_names] == list(found.benchmark_names)
    assert [found.strategy(name).name for name in found.strategy_names] == list(found.strategy_names)
    assert [found.rule(name).name for name in found.rule_names] == list(found.rule_names)
    assert {"vllm", "command", "simulated"} <= set(installed().engine_names)
    assert {"vllm_benchmark", "command", "simulated"} <= set(installed().benchmark_names)
    assert {"swarm", "random"} <= set(installed().strategy_names)


@pytest.mark.parametrize("engine", [None, "vllm", "simulated"])
def test_the_predecessors_default_file_loads_unchanged(engine: str | None) -> None:
    loaded = load(DEFAULT_FILE, engine=engine, environment={})
    assert loaded.settings.engine == (engine or "simulated")
    assert {"CONCURRENCY", "MAX_NUM_SEQS"} <= {field.name for field in loaded.settings.fields}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_of_the_documentation_loads(path: Path) -> None:
    loaded = load(path, environment={})
    assert loaded.placeholders == ()
    assert changes(loaded.settings, load(path, environment={}).settings) == ({}, [])
