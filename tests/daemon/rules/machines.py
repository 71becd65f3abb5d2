"""A model directory and a machine that the rules of theory judge, and what the same machine would really do."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serviceopt_journal.events import Configuration
from serviceoptd.domain.settings import (
    Budget,
    DeviceFacts,
    Field,
    ModelFacts,
    Objective,
    RunSettings,
    Search,
    Slo,
)
from serviceoptd.domain.space.space import Space
from serviceoptd.rules.interface import Facts, Result
from serviceoptd.toolkit.model_facts import model_facts

GIBIBYTE = 1024**3
H100 = DeviceFacts(name="NVIDIA H100 80GB HBM3", memory=80 * GIBIBYTE, bandwidth=3.35e12, flops=989e12)
FIELDS = (
    Field(
        name="TP", dtype="enum", dtype_param=[1, 2, 4, 8], config_position="argument:--tensor-parallel-size", value=1
    ),
    Field(name="MAX_NUM_SEQS", dtype="int", min=1, max=512, value=64),
    Field(
        name="MAX_MODEL_LEN", dtype="int", min=512, max=131072, value=8192, config_position="argument:--max-model-len"
    ),
    Field(name="CONCURRENCY", dtype="int", min=1, max=1000, value=100, load=True),
)


@dataclass(frozen=True)
class Llama:
    """A plain dense transformer in half precision."""

    layers: int = 80
    hidden: int = 8192
    heads: int = 64
    kv_heads: int = 8
    head_dim: int = 128
    intermediate: int = 28672
    vocabulary: int = 128256
    tied: bool = False

    @property
    def of_a_layer(self) -> int:
        """Matrix elements of one layer."""
        attention = 2 * self.hidden * self.heads * self.head_dim + 2 * self.hidden * self.kv_heads * self.head_dim
        return attention + 3 * self.hidden * self.intermediate

    @property
    def table(self) -> int:
        return self.vocabulary * self.hidden

    @property
    def parameters(self) -> int:
        return self.layers * self.of_a_layer + self.table * (1 if self.tied else 2)

    def written(self, directory: Path, **more: Any) -> Path:
        """Its directory, as far as it is read."""
        directory.mkdir(parents=True, exist_ok=True)
        configuration = {
            "model_type": "llama",
            "num_hidden_layers": self.layers,
            "hidden_size": self.hidden,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "vocab_size": self.vocabulary,
            "torch_dtype": "bfloat16",
            "max_position_embeddings": 131072,
            **more,
        }
        (directory / "config.json").write_text(json.dumps(configuration))
        index = {"metadata": {"total_size": 2 * self.parameters}}
        (directory / "model.safetensors.index.json").write_text(json.dumps(index))
        return directory

    def facts(self, directory: Path, arguments: dict[str, str] | None = None, **more: Any) -> ModelFacts:
        return model_facts(self.written(directory, **more), arguments or {}, needs_a_whole_sequence=True)


def facts_of(
    model: ModelFacts,
    *results: Result,
    device: DeviceFacts = H100,
    slos: tuple[Slo, ...] = (),
    fields: tuple[Field, ...] = FIELDS,
) -> Facts:
    """What a rule may know of a vLLM run with this model on these devices."""
    settings = RunSettings(
        engine="vllm",
        benchmark="vllm_benchmark",
        fields=fields,
        objective=Objective(slos=slos),
        search=Search(),
        budget=Budget(evaluations=10),
        model_facts=model,
        device_facts=device,
    )
    return Facts(space=Space.of(fields), settings=settings, results=results)


def deployed(tp: int = 1, *, seqs: int = 64, length: int = 8192, concurrency: int = 100) -> Configuration:
    return {"TP": tp, "MAX_NUM_SEQS": seqs, "MAX_MODEL_LEN": length, "CONCURRENCY": concurrency}


@dataclass(frozen=True)
class Machine:
    """A device that never quite reaches its peaks, and keeps something of its memory for itself."""

    device: DeviceFacts
    efficiency: float = 1.0  # of its peaks
    runtime: float = 0.0  # bytes for activations, graphs and the runtime
    cached: float = 0.0  # bytes of the weights that stay in its last-level cache

    def starts(self, model: Llama, tp: int, length: int) -> bool:
        """Whether one sequence of that length fits beside the weights."""
        heads = math.ceil(model.kv_heads / tp)
        sequence = 2 * model.layers * heads * model.head_dim * 2 * length
        return 2 * model.parameters / tp + sequence + self.runtime <= (self.device.memory or 0.0)

    def step(self, model: Llama, tp: int, tokens: int) -> float:
        """Seconds of one step with so many tokens: it reads the weights and multiplies with them, whichever is slower."""
        used = model.layers * model.of_a_layer
        read = max(0.0, 2 * (used + model.table) / tp - self.cached)
        operations = 2 * (used * tokens + model.table) / tp
        slower = max(read / (self.device.bandwidth or 1.0), operations / (self.device.flops or 1.0))
        return slower / self.efficiency
