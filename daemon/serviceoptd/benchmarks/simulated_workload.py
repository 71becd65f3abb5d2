"""What is simulated in place of the chosen engine and client: their own requests, arrivals and limits, as configured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

from serviceoptd.benchmarks.guidellm.simulated_requests import requests_of as of_guidellm
from serviceoptd.benchmarks.vllm_benchmark.simulated_requests import requests_of as of_vllm
from serviceoptd.engines.sglang_flags import SPELLINGS as OF_SGLANG
from serviceoptd.engines.vllm_flags import SPELLINGS as OF_VLLM
from serviceoptd.simulation.schedulers.vllm_limits import VllmLimits
from serviceoptd.toolkit import arguments
from serviceoptd.toolkit.config_file import CONFIG

NUMBERS = {"k": 1000, "m": 1000**2, "g": 1000**3, "K": 1024, "M": 1024**2, "G": 1024**3}
"""Units of vLLM's numbers: 32k is 32000, 32K is 32768 (`human_readable_int` in its `vllm/engine/arg_utils.py`)."""

SPELLINGS: Mapping[str, Mapping[str, str]] = {"vllm": OF_VLLM, "sglang": OF_SGLANG}
"""How each engine's flags may be spelled, abbreviated ones too."""
LIMITS_OF_SGLANG = {
    "context_length": "max_model_len",
    "page_size": "block_size",
    "max_running_requests": "max_num_seqs",
    "chunked_prefill_size": "max_num_batched_tokens",
}
REQUESTS: Mapping[str, Callable[[Mapping[str, Any]], tuple[dict[str, Any], str, list[str]]]] = {
    "vllm_benchmark": of_vllm, "guidellm": of_guidellm,
}  # fmt: skip
"""What the section of each client tells of its requests."""

SEPARATED = "mindie_kubernetes"
CONVERSATIONS = ("guidellm", "ais_bench_sharegpt", "ais_bench_mtbench")
BEYOND: Mapping[str, tuple[str, ...]] = {
    "vllm": (
        "data_parallel_size", "pipeline_parallel_size", "decode_context_parallel_size", "prefill_context_parallel_size",
        "speculative_config", "enable_lora", "kv_transfer_config", "max_num_partial_prefills", "num_scheduler_steps",
        "max_num_active_seqs", "max_num_scheduled_tokens", "prefill_schedule_interval", "enable_dbo",
    ),
    "sglang": (
        "dp_size", "data_parallel_size", "pp_size", "pipeline_parallel_size", "speculative_algorithm", "disaggregation_mode",
        "schedule_policy", "enable_mixed_chunk", "max_prefill_tokens", "prefill_max_requests",
    ),
}  # fmt: skip
"""Options that change batches in a way that no simulated scheduler knows (docs/simulation.md, known differences)."""


@dataclass(frozen=True)
class Workload:
    """Keys of `[simulated]`, limits of its scheduler, and what the client's lengths depend on where nobody can tell."""

    options: dict[str, Any] = field(default_factory=dict)
    limits: dict[str, Any] = field(default_factory=dict)
    unknown: str = ""
    unread: str = ""  # the engine's own file of options, which nobody has read
    differs: tuple[str, ...] = ()  # what is configured and not simulated


class Chosen(Protocol):
    """An engine or a client with its section, as the configuration has it."""

    @property
    def name(self) -> str:
        """The name under which the plugin is registered."""

    @property
    def options(self) -> Mapping[str, Any]:
        """The validated section of the engine."""


def workload_of(engine: Chosen, client: Chosen) -> Workload:
    """What both are configured to do."""
    options, unknown, differs = _requests(client)
    limits = _limits(engine)
    if shares_prefixes(options) and "enable_prefix_caching" not in limits:
        limits["enable_prefix_caching"] = True  # the default of the engines
    differs += _not_simulated(engine)
    spellings = SPELLINGS.get(engine.name)
    unread = arguments.value_of(CONFIG, _others(engine), spellings) if spellings is not None else None
    if engine.name == SEPARATED:
        differs.append("that prefill and decode have instances of their own: one does both")
    own = arguments.value_of("--chat-template", _others(engine), spellings)
    if own and (options.get("chat_template") or options.get("data_set", {}).get("chat")):
        differs.append(f"the service's --chat-template {own}: the model's own is")
    return Workload(options, limits, unknown, unread or "", tuple(differs))


def shares_prefixes(options: Mapping[str, Any]) -> bool:
    """Whether requests begin with the same tokens, so that it matters whether the engine keeps them."""
    kind = (options.get("data_set") or {}).get("kind", "")
    return bool(options.get("prefix_tokens")) or options.get("turns", 1) > 1 or kind in CONVERSATIONS


def _not_simulated(engine: Chosen) -> list[str]:
    """Options of the engine that compose other batches."""
    given = arguments.options(_others(engine), SPELLINGS[engine.name]) if engine.name in SPELLINGS else {}
    told = ((name, given[name]) for name in BEYOND.get(engine.name, ()) if name in given)
    return [f"--{name.replace('_', '-')} {value}" for name, value in told if value not in ("false", "1", "0", "auto")]


def _requests(client: Chosen) -> tuple[dict[str, Any], str, list[str]]:
    if client.name in REQUESTS:
        return REQUESTS[client.name](client.options.get("command") or {})
    return {}, "" if client.name == "simulated" else f"the requests of {client.name}", []


def _limits(engine: Chosen) -> dict[str, Any]:
    """Those of vLLM's scheduler that stand in the engine's `others`."""
    others = _others(engine)
    if engine.name == "vllm":
        given = arguments.options(others, OF_VLLM)
    elif engine.name == "sglang":
        plain = arguments.options(others, OF_SGLANG)
        given = {limit: plain[name] for name, limit in LIMITS_OF_SGLANG.items() if name in plain}
        if "disable_radix_cache" in plain:
            given["enable_prefix_caching"] = "false"
    else:
        return {}
    kinds = {each.name: type(each.default) for each in fields(VllmLimits)}
    read = {name: _value(text, kinds[name]) for name, text in given.items() if name in kinds}
    return {name: value for name, value in read.items() if value is not None}


def _others(engine: Chosen) -> list[str]:
    return arguments.split((engine.options.get("command") or {}).get("others") or "")


def _value(text: str, kind: type) -> Any:
    """The value of a flag as limits have it, or `$NAME`; None where a program decides it itself (`auto`, -1)."""
    if text in ("true", "false"):
        return text == "true"
    if kind is str or text.startswith("$"):
        return text
    number, unit = (text[:-1], NUMBERS[text[-1]]) if text[-1:] in NUMBERS else (text, 1)
    try:
        value = float(number) * unit
    except ValueError:
        return None
    if value < 0:
        return None
    return int(value) if value.is_integer() else value
