"""What is simulated of GuideLLM's requests: its synthetic texts, or the rows of a file, as 0.8.1 takes them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serviceopt_journal.foreign_text import json_value
from serviceoptd.toolkit import arguments

FILES = ("json_file", "csv_file")
CHAT = "/v1/chat/completions"
MAPPERS = ("--data-column-mapper", "--data-preprocessor")
BEYOND = ("branches", "tool_call_turns", "server_tool_call_turns", "delay")
"""Of synthetic texts: what makes other requests, or sends them at other times."""
FIRST = ("first_prompt_tokens", "first_output_tokens")
UNTOLD_FLAGS = ("--data-loader", "--data-finalizer", "--data-preprocessor")


def requests_of(command: Mapping[str, Any]) -> tuple[dict[str, Any], str, list[str]]:
    """Keys of `[simulated]`; what the lengths depend on where they cannot be told; what is configured and not simulated."""
    data, others = command.get("data") or {}, arguments.split(command.get("others") or "")
    differs = [flag for flag in UNTOLD_FLAGS if any(arguments.flag_of(word) == flag for word in others)]
    chat = command.get("request_format", CHAT) == CHAT
    kind = data.get("kind")
    if kind == "synthetic_text":
        found, unknown, more = _synthetic(data)
        if found and chat and command.get("model"):
            found["chat_template"] = command["model"]
        return found, unknown, differs + more
    if kind not in FILES or not isinstance(data.get("path"), str):
        return {}, f"the data of guidellm ({kind})", differs
    told: dict[str, Any] = {"path": data["path"], "kind": "guidellm", "shuffled": False}
    if command.get("model"):
        told["tokenizer"] = command["model"]
    columns, unknown = _columns(others)
    if unknown:
        return {}, unknown, differs
    most = (command.get("backend") or {}).get("max_tokens") or (command.get("backend") or {}).get(
        "max_completion_tokens"
    )
    if type(most) is int and most > 0:
        told["output_tokens"] = most
        differs.append(
            "an answer's end before its last token (`max_tokens` of [guidellm.command.backend] only limits it)"
        )
    if columns:
        told["columns"] = columns
    return {"data_set": {**told, **({"chat": True} if chat else {})}}, "", differs


def _synthetic(data: Mapping[str, Any]) -> tuple[dict[str, Any], str, list[str]]:
    told = {"input": "prompt_tokens", "output": "output_tokens"}
    if missing := next((key for key in told.values() if not _is_count(data.get(key))), None):
        return {}, f"the data of guidellm without `{missing}`", []
    found: dict[str, Any] = {f"{side}_tokens": data[key] for side, key in told.items()}
    for side, key in told.items():
        spread, unknown = _distribution(data, key)
        if unknown:
            return {}, unknown, []
        found |= {f"{side}_distribution": spread} if spread else {}
    prefix, unknown = _prefix(data)
    if unknown:
        return {}, unknown, []
    differs = [f"`{key}` of guidellm's data" for key in BEYOND if data.get(key)]
    differs += [f"`{key}` of guidellm's data" for key in FIRST if data.get(key)]
    if (turns := data.get("turns", 1)) != 1:
        if not _is_count(turns):
            return {}, f"the data of guidellm with turns = {turns!r}", []
        found["turns"] = turns
    return {**found, **prefix}, "", differs


def _distribution(data: Mapping[str, Any], key: str) -> tuple[dict[str, Any], str]:
    """As its `IntegerRangeSampler` draws: a normal distribution, else uniform between the bounds."""
    mean, deviation = data[key], data.get(f"{key}_stdev")
    low, high = data.get(f"{key}_min"), data.get(f"{key}_max")
    if any(value is not None and not _is_count(value) for value in (deviation, low, high)):
        return {}, f"the data of guidellm: `{key}_stdev`, `{key}_min` or `{key}_max` is not a whole number above 0"
    low = low if low is not None else max(1, mean - 5 * deviation if deviation else mean)
    high = high if high is not None else mean + 5 * deviation if deviation else mean
    if low > high:
        return {}, f"the data of guidellm: `{key}` is spread from {low} to {high}"
    if low == high == mean:
        return {}, ""
    if low == high or not deviation:
        return {"kind": "uniform", "min": low, "max": high}, ""
    return {"kind": "normal", "min": low, "max": high, "mean": float(mean), "deviation": float(deviation)}, ""


def _prefix(data: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    buckets = data.get("prefix_buckets") or []
    if not isinstance(buckets, list) or len(buckets) > 1 or not all(isinstance(each, dict) for each in buckets):
        return {}, "the data of guidellm with several `prefix_buckets`"
    of_one = buckets[0] if buckets else data
    tokens, count = of_one.get("prefix_tokens") or 0, of_one.get("prefix_count") or 1
    if not (type(tokens) is int and tokens >= 0 and _is_count(count)):
        return {}, "the data of guidellm: `prefix_tokens` or `prefix_count` is not a whole number"
    return ({"prefix_tokens": tokens, "prefixes": count} if tokens else {}), ""


def _columns(others: list[str]) -> tuple[dict[str, str], str]:
    """The columns that a mapper names, of those that have one name."""
    value = arguments.value_of(MAPPERS[0], others)
    if value is None:
        return {}, ""
    try:
        mapped = json_value(value).get("column_mappings") or {}
        return {key: names if isinstance(names, str) else names[0] for key, names in mapped.items() if names}, ""
    except (ValueError, AttributeError, TypeError, KeyError, IndexError):
        return {}, f"{MAPPERS[0]} {value}"


def _is_count(value: Any) -> bool:
    return type(value) is int and value > 0
