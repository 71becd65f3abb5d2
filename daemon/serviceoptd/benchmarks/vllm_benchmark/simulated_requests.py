"""What is simulated of the requests of `vllm bench serve`: as its flags say, by the rules of 0.32. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from serviceopt_journal.foreign_text import json_value, whole_number
from serviceoptd.benchmarks.untellable import Untellable
from serviceoptd.benchmarks.vllm_benchmark.flags import SPELLINGS
from serviceoptd.domain.settings import LOAD_NAMES
from serviceoptd.toolkit import arguments

SYNTHETIC: Mapping[str, tuple[int, int, int]] = {"random": (1024, 128, 0), "sonnet": (550, 150, 200)}
"""Tokens of input, output and shared prefix of these data sets where no flag tells them (vLLM 0.8 to 0.32)."""
PREFIXED: Mapping[str, int] = {"prefix_len": 256, "suffix_len": 256, "output_len": 128, "num_prefixes": 10}
"""The same of `prefix_repetition`, by its flags."""
OUTPUT_OF_FILES: Mapping[str, int | None] = {
    "custom": 256, "sharegpt": None, "burstgpt": None, "spec_bench": 256, "speed_bench": 4096, "timed_trace": None,
}  # fmt: skip
"""Tokens of each answer where no flag tells them, of the data sets whose file is read; None: the record tells them."""
OVERALL = ("custom", "sharegpt", "spec_bench")
"""The data sets in a file for which `--output-len` is the same as their own flag."""
OUTLASTED = ("random", "timed_trace", "burstgpt")
"""The data sets with which the client asks for all tokens of an answer, or whose rows say what came of it."""
LABELS = ("timestamp", "input_length", "output_length", "hash_ids")
OF_MEDIA = ("random-mm", "custom_image", "custom_audio", "custom_mm", "hf")
CONSTANT = 1e9  # of `--burstiness inf`: so narrow a gamma distribution that gaps are equal
UNTOLD = {
    "probe_request_rate": "probes beside the measured requests",
    "lora_modules": "LoRA modules",
    "use_beam_search": "beam search",
    "best_of": "several answers a request",
    "chat_template_kwargs": "arguments of the chat template",
    "enable_multimodal_chat": "multimodal chats",
}
"""What changes the load and is not simulated."""


def requests_of(command: Mapping[str, Any]) -> tuple[dict[str, Any], str, list[str]]:
    """Keys of `[simulated]`; what the lengths depend on where they cannot be told; what is configured and not simulated."""
    given = arguments.options(arguments.split(command.get("others") or ""), SPELLINGS)
    found, differs = _arrivals(given)
    differs += [f"{what} (--{flag.replace('_', '-')})" for flag, what in UNTOLD.items() if _is_given(given, flag)]
    try:
        lengths = _lengths(command, given)
    except Untellable as told:
        return found, told.message, differs
    dataset = str(command.get("dataset_name", ""))
    if dataset not in OUTLASTED and given.get("ignore_eos") != "true":
        differs.append(
            "an answer's end before its last token (without --ignore-eos in [vllm_benchmark.command] others)"
        )
    if given.get("oversample") == "false":
        differs.append("fewer requests than num_prompts (--no-oversample): records are sent again")
    return {**lengths, **found}, "", differs


def asks_for_a_chat(command: Mapping[str, Any]) -> bool:
    """Whether the service puts its chat template around each prompt."""
    given = arguments.options(arguments.split(command.get("others") or ""), SPELLINGS)
    backend = given.get("backend") or given.get("endpoint_type") or command.get("backend") or ""
    return backend == "openai-chat"


def _lengths(command: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, Any]:
    dataset = str(command.get("dataset_name", ""))
    if dataset in OUTPUT_OF_FILES and (path := command.get("dataset_path")):
        return {"data_set": _file(dataset, path, command, given)}
    if dataset in SYNTHETIC or dataset == "prefix_repetition":
        found = _prefixed(given) if dataset == "prefix_repetition" else _synthetic(dataset, given)
        model = given.get("tokenizer") or command.get("model")
        return {**found, "chat_template": model} if asks_for_a_chat(command) and model else found
    if dataset in OF_MEDIA:
        raise Untellable(f'the data set "{dataset}": images and sounds have as many tokens as the model makes of them')
    raise Untellable(f'the data set "{dataset}": its texts have as many tokens as the model\'s tokenizer makes of them')


def _synthetic(dataset: str, given: Mapping[str, str]) -> dict[str, Any]:
    tokens, output, prefix = (
        _count(given, names, usual, least)
        for names, usual, least in zip(
            (
                ("input_len", f"{dataset}_input_len"),
                ("output_len", f"{dataset}_output_len"),
                (f"{dataset}_prefix_len",),
            ),
            SYNTHETIC[dataset],
            (1, 1, 0),
            strict=True,
        )
    )
    if dataset == "sonnet":  # its input holds the prefix
        return {"input_tokens": max(1, tokens - prefix), "output_tokens": output, "prefix_tokens": prefix}
    found: dict[str, Any] = {"input_tokens": tokens, "output_tokens": output, "prefix_tokens": prefix}
    inputs, outputs = _ratios(given.get("random_range_ratio", "0"))
    if inputs == outputs:
        return {**found, "range_ratio": inputs}
    around = {"input_distribution": (tokens, inputs), "output_distribution": (output, outputs)}
    return found | {key: _uniform(mean, ratio) for key, (mean, ratio) in around.items()}


def _prefixed(given: Mapping[str, str]) -> dict[str, Any]:
    own = {name: f"prefix_repetition_{name}" for name in PREFIXED}
    names = {name: (("output_len", flag) if name == "output_len" else (flag,)) for name, flag in own.items()}
    prefix, suffix, output, prefixes = (
        _count(given, names[name], usual, 0 if name == "prefix_len" else 1) for name, usual in PREFIXED.items()
    )
    return {"input_tokens": suffix, "output_tokens": output, "prefix_tokens": prefix, "prefixes": prefixes}


def _file(dataset: str, path: str, command: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, Any]:
    """`[simulated.data_set]` of a data set in a file, by the flags that its client takes."""
    found: dict[str, Any] = {"path": path, "kind": dataset}
    if tokenizer := given.get("tokenizer") or command.get("model"):
        found["tokenizer"] = tokenizer
    names = (*(("output_len",) if dataset in OVERALL else ()), f"{dataset}_output_len")
    told = next((given[name] for name in names if name in given), None)
    if dataset not in ("burstgpt", "timed_trace"):  # their rows tell it
        usual = OUTPUT_OF_FILES[dataset]
        output = usual if told is None else None if told == "-1" else _count(given, names, 0, 1)
        found |= {"output_tokens": output} if output else {}
    if dataset == "timed_trace":
        return found | {"shuffled": False} | _trace(given)
    if given.get("disable_shuffle") == "true" and dataset != "burstgpt":
        found["shuffled"] = False
    if dataset in ("spec_bench", "speed_bench") and (category := given.get(f"{dataset}_category")):
        found["category"] = category
    if dataset == "speed_bench":  # a directory
        found["path"] = f"{path}/{given.get('speed_bench_dataset_subset', 'qualitative')}.jsonl"
    skips = "true" in (given.get("skip_chat_template"), given.get("custom_skip_chat_template"))
    if dataset == "spec_bench" or (dataset in ("custom", "speed_bench") and not skips):
        found["client_template"] = True
    if asks_for_a_chat(command) and dataset != "burstgpt":
        found["chat"] = True
    return found


def _trace(given: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    labels = [given.get(f"timed_trace_label_{label}", label) for label in LABELS]
    if labels != list(LABELS):
        found["labels"] = labels
    if (hashed := _count(given, ("timed_trace_chunk_hash_size",), 16, 1)) != 16:
        found["hashed"] = hashed
    if given.get("self_timed") != "false":
        second = _number(given.get("timed_trace_sec_multiplier", "1"))
        if second is None or not 0 < second < math.inf:
            raise Untellable(f"--timed-trace-sec-multiplier {given['timed_trace_sec_multiplier']}")
        found["second"] = second
    return found


def _arrivals(given: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """The load that `others` fixes, where no target field sets it; and what of it is not simulated."""
    found: dict[str, Any] = {}
    differs = []
    for flag, key in (
        ("max_concurrency", "concurrency"),
        ("request_rate", "request_rate"),
        ("burstiness", "burstiness"),
    ):
        if (text := given.get(flag)) is None:
            continue
        value = _number(text)
        if value is None or value <= 0:
            if arguments.references([text], LOAD_NAMES) or not text.startswith("$"):
                continue  # the load of the target fields, or what the client refuses
            differs.append(f"--{flag.replace('_', '-')} {text}")
        elif value < math.inf:
            found[key] = int(value) if key == "concurrency" else value
        elif key == "burstiness":
            found[key] = CONSTANT
    if strategy := given.get("ramp_up_strategy"):
        start, end = (_number(given.get(f"ramp_up_{which}_rps", "")) for which in ("start", "end"))
        if strategy in ("linear", "exponential") and start and end and 0 < start <= end < math.inf:
            found["ramp_up"] = {"strategy": strategy, "start": start, "end": end}
        else:
            differs.append(f"--ramp-up-strategy {strategy} with its rates")
    return found, differs


def _is_given(given: Mapping[str, str], flag: str) -> bool:
    return given.get(flag, "false") not in ("false", "0", "0.0")


def _count(given: Mapping[str, str], names: tuple[str, ...], usual: int, least: int) -> int:
    """A number of tokens by the first of these flags that is given."""
    for name in names:
        if (text := given.get(name)) is None:
            continue
        if (tokens := whole_number(text)) is None or tokens < least:
            raise Untellable(f"--{name.replace('_', '-')} {text}")
        return tokens
    return usual


def _ratios(text: str) -> tuple[float, float]:
    """How far inputs and outputs are spread: one number for both, or JSON."""
    both: Any = _number(text)
    try:
        told = {"input": both, "output": both} if both is not None else json_value(text)
        inputs, outputs = float(told["input"]), float(told["output"])
    except (ValueError, TypeError, KeyError) as error:
        raise Untellable(f"--random-range-ratio {text}") from error
    if not (0 <= inputs < 1 and 0 <= outputs < 1):
        raise Untellable(f"--random-range-ratio {text}")
    return inputs, outputs


def _uniform(mean: int, ratio: float) -> dict[str, Any]:
    low, high = math.floor(mean * (1 - ratio)), math.ceil(mean * (1 + ratio))
    return {"kind": "uniform", "min": max(1, low), "max": max(1, high)}


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
