"""A small world of plugins: two engines and two clients that are as real to the loader as installed ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import Field

from serviceopt_journal.errors import ExitCode
from serviceoptd.benchmarks.ais_bench.client import AisBench
from serviceoptd.config.load import Loaded, load_text
from serviceoptd.config.plugins import Plugins
from serviceoptd.config.problems import ConfigurationErrors
from serviceoptd.engines.mindie.engine import MindieEngine
from serviceoptd.engines.mindie_kubernetes.engine import MindieKubernetesEngine
from serviceoptd.toolkit.interface import Options, ProcessOptions

SEQUENCES = {"name": "MAX_NUM_SEQS", "min": 32, "max": 512, "dtype": "int", "value": 64}
CONCURRENCY = {"name": "CONCURRENCY", "min": 1, "max": 1000, "dtype": "int", "value": 100}


class ServeCommand(Options):
    host: str = "127.0.0.1"
    port: int | str = 8000
    model: str = ""
    served_model_name: str = ""
    others: str = ""


class ServeOptions(ProcessOptions):
    command: ServeCommand = ServeCommand()


class BenchCommand(ServeCommand):
    dataset_name: str = ""
    dataset_path: str | None = None
    num_prompts: int = Field(default=1000, ge=1, le=10_000)


class BenchOptions(ProcessOptions):
    command: BenchCommand = BenchCommand()


class SimulatedOptions(Options):
    devices: int = 1
    launch_seconds: float = 0.0


class SimulatedClientOptions(Options):
    num_prompts: int = 100


class Plugin:
    """What the loader asks for besides the section: methods that nobody calls here."""

    plan = read = problems = identity = kv_blocks = devices = lambda self: None


class Vllm(Plugin):
    name = "vllm"
    section = ServeOptions
    defaults: ClassVar[dict[str, Any]] = {"command": {"port": 8001}, "target_field": [SEQUENCES, CONCURRENCY]}


class VllmBenchmark(Plugin):
    name = "vllm_benchmark"
    section = BenchOptions
    defaults: ClassVar[dict[str, Any]] = {}


class Simulated(Plugin):
    name = "simulated"
    section = SimulatedOptions
    defaults: ClassVar[dict[str, Any]] = {"target_field": [SEQUENCES, CONCURRENCY]}


class SimulatedClient(Plugin):
    name = "simulated"
    section = SimulatedClientOptions
    defaults: ClassVar[dict[str, Any]] = {}


Load = Callable[..., Loaded]
Refuse = Callable[..., list[str]]


@pytest.fixture(scope="session")
def plugins() -> Plugins:
    return Plugins.of(
        [Vllm, Simulated, MindieEngine, MindieKubernetesEngine], [VllmBenchmark, SimulatedClient, AisBench]
    )


@pytest.fixture
def load(plugins: Plugins) -> Load:
    def loaded(text: str, **arguments: Any) -> Loaded:
        arguments = {"environment": {}, "installed": plugins, **arguments}
        return load_text(text, Path("config.toml"), **arguments)

    return loaded


@pytest.fixture
def refused(load: Load) -> Refuse:
    """The message's lines of a configuration that must not load."""

    def messages(text: str, **arguments: Any) -> list[str]:
        with pytest.raises(ConfigurationErrors) as caught:
            load(text, **arguments)
        assert caught.value.exit_code == ExitCode.CONFIGURATION
        assert caught.value.hint
        return caught.value.message.split("\n")

    return messages
