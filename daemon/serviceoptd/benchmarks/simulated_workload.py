"""What is simulated in place of the chosen engine and client: their own requests, arrivals and limits, as configured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

from serviceopt_journal.foreign_text import whole_number
from serviceoptd.benchmarks.vllm_benchmark.flags import SPELLINGS as OF_THE_CLIENT
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
SYNTHETIC: Mapping[str, tuple[int, int, int]] = {"random": (1024, 128, 0), "sonnet": (550, 150, 200)}
"""Tokens of input, output and shared prefix of these data sets where no flag tells them (vLLM 0.8 to 0.32)."""

OUTPUT_OF_FILES: Mapping[str, int | None] = {"custom": 256, "sharegpt": None, "burstgpt": None}
"""Tokens of each answer where no flag tells them, of the data sets whose file is read; None: the record tells them."""

PREFIXED = ("prefix_repetition", (256, 256, 128))


@dataclass(frozen=True)
class Workload:
    """Keys of `[simulated]`, limits of its scheduler, and what the client's lengths depend on where nobody can tell."""

    options: dict[str, Any] = field(default_factory=dict)
    limits: dict[str, Any] = field(default_factory=dict)
    unknown: str = ""
    unread: str = ""  # the engine's own file of options, which nobody has read


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
    options, unknown = _requests(client)
    limits = _limits(engine)
    if options.get("prefix_tokens") and not limits.keys() & {"enable_prefix_caching", "disable_radix_cache"}:
        limits["enable_prefix_caching"] = True  # the default of the engines
    spellings = SPELLINGS.get(engine.name)
    unread = arguments.value_of(CONFIG, _others(engine), spellings) if spellings is not None else None
    return Workload(options, limits, unknown, unread or "")


def _requests(client: Chosen) -> tuple[dict[str, Any], str]:
    command = client.options.get("command") or {}
    if client.name == "vllm_benchmark":
        given = arguments.options(arguments.split(command.get("others") or ""), OF_THE_CLIENT)
        found, unknown = ({}, unclear) if (unclear := _no_number(given)) else _of_vllm(command, given)
        return {**found, **_arrivals(given)}, unknown
    if client.name == "guidellm":
        data = command.get("data") or {}
        told = {"input_tokens": data.get("prompt_tokens"), "output_tokens": data.get("output_tokens")}
        if data.get("kind") == "synthetic_text" and all(told.values()):
            return told, ""
        return {}, f"the data of guidellm ({data.get('kind')})"
    return {}, "" if client.name == "simulated" else f"the requests of {client.name}"


def _no_number(given: Mapping[str, str]) -> str:
    """A flag of a length with a value such as $INPUT_LEN, which differs from one configuration to the next."""
    lengths = ((name, value) for name, value in given.items() if name.endswith("_len"))
    return next((f"--{n.replace('_', '-')} {v}" for n, v in lengths if whole_number(v.removeprefix("-")) is None), "")


def _of_vllm(command: Mapping[str, Any], given: Mapping[str, str]) -> tuple[dict[str, Any], str]:
    dataset = str(command.get("dataset_name", ""))
    if dataset == PREFIXED[0]:
        names = ("prefix_len", "suffix_len", "output_len")
        flags = [given.get(f"prefix_repetition_{name}") for name in names]
        prefix, suffix, output = (int(flag or usual) for flag, usual in zip(flags, PREFIXED[1], strict=True))
        return {"input_tokens": prefix + suffix, "output_tokens": output}, ""
    if dataset in OUTPUT_OF_FILES and (path := command.get("dataset_path")):
        return {"data_set": _file(dataset, path, command, given)}, ""
    if dataset not in SYNTHETIC:
        return {}, f'the data set "{dataset}": its texts have as many tokens as the model\'s tokenizer makes of them'
    flags = [given.get(f"{dataset}_{name}_len") for name in ("input", "output", "prefix")]
    overall = [given.get("input_len"), given.get("output_len"), None]
    numbers = zip(overall, flags, SYNTHETIC[dataset], strict=True)
    tokens, output, prefix = (int(first or second or usual) for first, second, usual in numbers)
    if dataset == "sonnet":  # its input holds the prefix
        tokens = max(1, tokens - prefix)
    found: dict[str, Any] = {"input_tokens": tokens, "output_tokens": output, "prefix_tokens": prefix}
    ratio = given.get("random_range_ratio", "")
    try:
        found["range_ratio"] = float(ratio or 0.0)
    except ValueError:
        return found, f"--random-range-ratio {ratio}"
    return found, ""


def _file(kind: str, path: str, command: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, Any]:
    """`[simulated.data_set]` of a data set in a file, by the flags that its client takes."""
    found: dict[str, Any] = {"path": path, "kind": kind}
    if tokenizer := given.get("tokenizer") or command.get("model"):
        found["tokenizer"] = tokenizer
    output = given.get("output_len") or given.get(f"{kind}_output_len")
    tokens = OUTPUT_OF_FILES[kind] if output is None else whole_number(output)
    if tokens and kind != "burstgpt":  # its rows win over the flag
        found["output_tokens"] = tokens
    if given.get("disable_shuffle") == "true" and kind != "burstgpt":
        found["shuffled"] = False
    return found


def _arrivals(given: Mapping[str, str]) -> dict[str, Any]:
    """The load that `others` fixes; a target field of the load wins over it."""
    found: dict[str, Any] = {}
    if (concurrency := whole_number(given.get("max_concurrency", ""))) is not None:
        found["concurrency"] = concurrency
    for flag, key in (("request_rate", "request_rate"), ("burstiness", "burstiness")):
        try:
            value = float(given.get(flag, "nan"))
        except ValueError:
            continue
        if 0 < value < float("inf"):
            found[key] = value
    return found


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
