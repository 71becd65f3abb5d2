"""How one configuration lays the model over the accelerators: what the rules of theory start from. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from serviceopt_journal.events import Configuration, Value
from serviceoptd.domain.settings import ModelFacts
from serviceoptd.domain.space.constraints import number, parameters
from serviceoptd.domain.space.model_options import changes_the_model, quantises
from serviceoptd.rules.interface import Facts

TENSOR = ("tensor_parallel_size",)
PIPELINE = ("pipeline_parallel_size",)
DATA = ("data_parallel_size",)
CONTEXT = ("decode_context_parallel_size", "prefill_context_parallel_size")
ALSO_CALLED = {
    "tensor_parallel_size": ("tensor_parallel", "tp_size", "tp"),
    "pipeline_parallel_size": ("pipeline_parallel", "pp_size", "pp"),
    "data_parallel_size": ("data_parallel", "dp_size", "dp"),
}
"""Other names that a searched size may have: the position `argument:-tp`, or an abbreviated flag."""
SHARE = ("gpu_memory_utilization", "mem_fraction_static")
LENGTH = ("max_model_len", "context_length")
CACHE_BYTES = {"float16": 2.0, "bfloat16": 2.0, "half": 2.0, "float": 4.0, "float32": 4.0}
NARROW_CACHE, NARROWEST_CACHE = 1.0, 0.25


@dataclass(frozen=True)
class Deployment:
    """The parameters of one configuration, fixed and searched ones, with the model that they deploy."""

    model: ModelFacts
    known: Mapping[str, Value]

    @classmethod
    def of(cls, configuration: Configuration, facts: Facts) -> Deployment:
        model = facts.settings.model_facts
        known = parameters(configuration, facts.space.fields, model.arguments)
        if changes_the_model(known):
            model = ModelFacts(arguments=model.arguments)
        elif quantises(known):
            model = replace(model, weights=None, read_each_step=None, flops_each_token=None)
        return cls(model, known)

    @property
    def layer_devices(self) -> int:
        """Devices that share out each layer, at most: experts may be spread over data parallel replicas too."""
        return self._product(TENSOR + DATA if self.model.experts else TENSOR)

    @property
    def stages(self) -> int:
        """Stages of the pipeline."""
        return self._product(PIPELINE)

    @property
    def replica(self) -> int:
        """Devices that hold one copy of the weights between them, at most."""
        return self.layer_devices * self.stages

    @property
    def devices(self) -> int:
        """All devices of the service, at most: every degree of parallelism multiplied."""
        return self._product(TENSOR + PIPELINE + DATA + CONTEXT)

    @property
    def share(self) -> float:
        """The share of a device's memory that the engine may use; 1 where nobody says, since defaults differ."""
        fixed = self.known.get("kv_cache_memory_bytes")  # then the share does not count
        return 1.0 if fixed is not None else self._first(SHARE) or 1.0

    @property
    def longest(self) -> int | None:
        """Tokens of the longest sequence, at least; None where it is not known, or fitted to the memory."""
        given = next((self.known[name] for name in LENGTH if name in self.known), None)
        if given is None:
            return self.model.longest
        length = number(given)
        return int(length) if length is not None and length > 0 else None

    @property
    def cache_each_token(self) -> float | None:
        """Bytes of a token in the KV cache of one device, at least; None where it is not known.

        Of fewer KV heads than devices each device has a copy of one, unless sequences are shared out between devices.
        """
        if self.model.cache_numbers is None:
            return None
        heads = self.model.cache_heads
        own = math.ceil(heads / self._product(TENSOR)) / self._product(CONTEXT)
        return self.model.cache_numbers * own * self._cache_bytes() / self.stages

    @property
    def speculates(self) -> bool:
        """Whether a step may give a sequence more than one token."""
        return any("speculative" in name or "draft" in name or name == "num_scheduler_steps" for name in self.known)

    def _cache_bytes(self) -> float:
        kind = self.known.get("kv_cache_dtype", "auto")
        if kind == "auto":
            return self.model.cache_bytes
        narrow = NARROW_CACHE if str(kind).startswith(("fp8", "int8")) else NARROWEST_CACHE
        return CACHE_BYTES.get(str(kind), narrow)

    def _product(self, names: tuple[str, ...]) -> int:
        sizes = (self._first((name, *ALSO_CALLED.get(name, ()))) for name in names)
        return math.prod(max(1, int(size)) for size in sizes if size is not None)

    def _first(self, names: tuple[str, ...]) -> float | None:
        return next((value for name in names if (value := number(self.known.get(name))) is not None), None)
