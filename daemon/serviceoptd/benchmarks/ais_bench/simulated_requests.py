"""What is simulated of AISBench's requests: read from the data set's and the model's configuration, never run.

By the sources of AISBench 3.1. A request is known where both files state what makes it, and where an answer has exactly as
many tokens as it may have (`ignore_eos=True`). The first records of the file are sent, in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serviceoptd.benchmarks.ais_bench.examples import is_a, messages_of, text_of, with_examples
from serviceoptd.benchmarks.ais_bench.model import ModelFile
from serviceoptd.benchmarks.ais_bench.stated import UNKNOWN, as_table, name_of, value_of
from serviceoptd.benchmarks.untellable import Untellable
from serviceoptd.predicting.data_set.tokens import counter

FILES: Mapping[str, tuple[str, str]] = {
    "GSM8KDataset": ("test.jsonl", "train.jsonl"), "CustomDataset": ("", ""), "HumanevalDataset": ("", ""),
    "BoolQDatasetV2": ("", ""),
}  # fmt: skip
"""Classes whose data are lines, and of a directory the file of it that is sent, and the one that examples come from."""
TALKS = {"ShareGPTDataset": "ais_bench_sharegpt", "MTBenchDataset": "ais_bench_mtbench"}
ROUNDS = {"round": [{"role": "HUMAN", "prompt": "{question}"}, {"role": "BOT", "prompt": "{answer}"}]}
MODES = ("every", "every_with_gt", "last")
CONSTANT = 1e9  # of burstiness 0: so narrow a gamma distribution that gaps are equal


@dataclass(frozen=True)
class Told:
    """What the configurations say beside the data set's own values."""

    model: ModelFile
    output: int  # `max_out_len`
    tokenizer: str | None
    chat: bool


def requests_of(
    stated: Mapping[str, Any],
    suffix: str,
    model: ModelFile,
    tokenizer: str | None,
    located: Callable[[str], Path | None],
) -> dict[str, Any]:
    """Tells the keys of `[simulated]`.

    Args:
        stated: what the data set's configuration states.
        suffix: how the name of the list of data sets ends.
        model: the model's configuration.
        tokenizer: directory of the one that counts.
        located: where a path of a data set is; None: nowhere.

    Raises:
        Untellable: the requests cannot be known, and why.
    """
    data = _the_one(stated, suffix)
    output = model.stated("max_out_len")
    if type(output) is not int or output < 1:
        raise Untellable(f"`max_out_len` of {model.name}, which is not a number")
    if not model.ignores_eos():
        raise Untellable(f"{model.name}: answers may end before `max_out_len` tokens without `ignore_eos=True`")
    if model.has("meta_template"):
        raise Untellable(f"{model.name}, which has a `meta_template` of its own")
    told = Told(model, output, tokenizer, chat=model.kind().endswith("Chat"))
    kind = name_of(data.get("type"))
    found = _by_kind(kind, data, told, located)
    return found | _arrivals(model)


def _by_kind(kind: str, data: Mapping[str, Any], told: Told, located: Callable[[str], Path | None]) -> dict[str, Any]:
    reader = as_table(data.get("reader_cfg"))
    if data.get("n", 1) != 1 or data.get("num_repeats", 1) != 1:
        raise Untellable("the data set's `n` or `num_repeats`: each record is sent several times")
    if "test_range" in reader:
        raise Untellable("the data set's `test_range`, which wins over num_prompts")
    if kind == "SyntheticDataset":
        return _synthetic(data, told, _has_own_output(reader))
    path = data.get("path")
    if kind not in FILES and kind not in TALKS:
        raise Untellable(f"the data set class {kind}")
    place = located(path) if isinstance(path, str) else None
    if place is None:
        raise Untellable(f"the data of {kind}, which are not here: path = {path!r}")
    known = {"tokenizer": told.tokenizer} if told.tokenizer else {}
    chat = {"chat": True} if told.chat else {}
    common = {**known, **chat, "output_tokens": told.output, "shuffled": False}
    if kind in TALKS:
        return {"data_set": {"path": str(place), "kind": TALKS[kind], **common, **_turns(data)}}
    return {"data_set": {**common, "kind": "ais_bench", **_lines(kind, place, data, told, reader)}}


def _lines(kind: str, place: Path, data: Mapping[str, Any], told: Told, reader: Mapping[str, Any]) -> dict[str, Any]:
    """Records as lines of a file, and how each becomes a prompt."""
    sent, shown = FILES[kind]
    if isinstance(name := data.get("file_name"), str):
        place = place / name
    path = place / sent if place.is_dir() else place
    if path.with_name(f"{path.name}.meta.json").exists() or data.get("meta_path"):
        raise Untellable(f"{path}, whose meta.json may choose other records and lengths")
    column = reader.get("output_column")
    column = column if isinstance(column, str) else ""
    template = with_examples(as_table(data.get("infer_cfg")), path.with_name(shown) if shown else path, column)
    found: dict[str, Any] = {"path": str(path)}
    if not _has_own_output(reader):
        found["own_output"] = False
    if isinstance(template, str):
        return {**found, "template": template.replace(f"{{{column}}}", "") if column else template}
    if not told.chat:
        return {**found, "template": text_of(template, column)}
    messages = messages_of(template, column)
    return {**found, "messages": [{"role": role, "prompt": text} for role, text in messages]}


def _turns(data: Mapping[str, Any]) -> dict[str, str]:
    inferencer = as_table(as_table(data.get("infer_cfg")).get("inferencer"))
    prompt = as_table(as_table(data.get("infer_cfg")).get("prompt_template"))
    if not is_a(inferencer, "MultiTurnGenInferencer") or as_table(prompt.get("template")) != ROUNDS:
        raise Untellable("the conversations of the data set: their template or inferencer is not AISBench's own")
    mode = inferencer.get("infer_mode", "every")
    if mode not in MODES:
        raise Untellable(f"infer_mode {mode!r}")
    return {"turns": mode} if mode != "every" else {}


def _synthetic(data: Mapping[str, Any], told: Told, own_output: bool) -> dict[str, Any]:
    config = as_table(data.get("config"))
    prompt = as_table(as_table(data.get("infer_cfg")).get("prompt_template"))
    if (template := prompt.get("template", "{question}")) != "{question}":
        raise Untellable(f"the template {template!r} of a synthetic data set")
    template_of = {"chat_template": told.tokenizer} if told.chat and told.tokenizer else {}
    if (kind := str(config.get("Type")).lower()) == "tokenid":
        given = as_table(config.get("TokenIdConfig"))
        size, prefix = given.get("RequestSize"), given.get("PrefixLen", 0)
        if type(size) is not int or size < 1 or type(prefix) is not int or not 0 <= prefix <= size:
            raise Untellable("`RequestSize` and `PrefixLen` of the synthetic data set")
        shared = {"prefix_tokens": prefix, "input_tokens": max(1, size - prefix)} if prefix else {"input_tokens": size}
        return {**shared, "output_tokens": told.output, **template_of}
    if kind != "string":
        raise Untellable(f"the synthetic data set's Type {config.get('Type')!r}")
    given = as_table(config.get("StringConfig"))
    inputs = _distribution(given.get("Input"), "Input")
    _refuse_other_words(told.tokenizer)
    found = {"input_tokens": _middle(inputs), "input_distribution": inputs, "output_tokens": told.output, **template_of}
    if own_output:
        outputs = _distribution(given.get("Output"), "Output")
        found |= {"output_tokens": _middle(outputs), "output_distribution": outputs}
    return found


def _distribution(given: Any, side: str) -> dict[str, Any]:
    """As `sample_one_value` draws, which leaves out what is behind the point."""
    method, params = as_table(given).get("Method"), as_table(as_table(given).get("Params"))
    low, high = params.get("MinValue"), params.get("MaxValue")
    if type(low) is not int or type(high) is not int or not 1 <= low <= high:
        raise Untellable(f"{side} of the synthetic data set's StringConfig: MinValue {low}, MaxValue {high}")
    bounds = {"min": low, "max": high}
    if method == "uniform":
        return {"kind": "uniform", "min": low, "max": max(low, high - 1)}
    mean, variance, alpha = (_number(params.get(key)) for key in ("Mean", "Var", "Alpha"))
    if method == "gaussian" and mean is not None and variance is not None and variance >= 0:
        # rounding half less gives what leaving out gives
        return {"kind": "normal", **bounds, "mean": mean - 0.5, "deviation": variance**0.5}
    if method == "zipf" and alpha is not None and 1 < alpha <= 10:
        return {"kind": "zipf", **bounds, "exponent": alpha}
    raise Untellable(f"{side} of the synthetic data set's StringConfig: {method} with {params}")


def _middle(distribution: Mapping[str, Any]) -> int:
    return int((distribution["min"] + distribution["max"]) // 2)


def _refuse_other_words(tokenizer: str | None) -> None:
    """Its prompts are so many "A"s with spaces between them: lengths are known where each is one token."""
    counting = counter(Path(tokenizer) if tokenizer else None)
    if not counting.estimated and (tokens := counting.bare(" ".join(["A"] * 100))) != 100:
        raise Untellable(f"words: 100 times the word A of a synthetic data set are {tokens} tokens for {tokenizer}")


def _arrivals(model: ModelFile) -> dict[str, Any]:
    if model.stated("use_timestamp") is True:
        raise Untellable(f"{model.name}: use_timestamp=True, so the data set's time stamps tell when to send")
    told = [node for key, node in model.entry if key == "traffic_cfg"]
    traffic = value_of(told[-1], {}) if told else {}
    if not isinstance(traffic, dict):
        raise Untellable(f"{model.name}: traffic_cfg")
    found: dict[str, Any] = {}
    if (burstiness := _number(traffic.get("burstiness"))) is not None and burstiness >= 0:
        found["burstiness"] = burstiness or CONSTANT
    strategy = traffic.get("ramp_up_strategy")
    start, end = (_number(traffic.get(f"ramp_up_{which}_rps")) for which in ("start", "end"))
    if strategy in ("linear", "exponential") and start and end and start > 0 and end > 0:
        found["ramp_up"] = {"strategy": strategy, "start": start, "end": end}
    elif strategy:
        raise Untellable(f"{model.name}: traffic_cfg {traffic}")
    return found


def _the_one(stated: Mapping[str, Any], suffix: str) -> Mapping[str, Any]:
    lists = {name: value for name, value in stated.items() if name.endswith(suffix)}
    if not lists or any(not isinstance(value, list) or UNKNOWN in value for value in lists.values()):
        raise Untellable(f"the data set's configuration, whose `*{suffix}` only running it would tell")
    found = [data for value in lists.values() for data in value]
    if len(found) != 1 or not isinstance(found[0], dict):
        raise Untellable(f"{len(found)} data sets in one configuration")
    return found[0]


def _has_own_output(reader: Mapping[str, Any]) -> bool:
    columns: Sequence[Any] | str = reader.get("input_columns") or ()
    return "max_out_len" in (columns.split() if isinstance(columns, str) else columns)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
