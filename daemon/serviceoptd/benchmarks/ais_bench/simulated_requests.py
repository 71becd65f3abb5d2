"""What is simulated of AISBench's requests: read from the data set's and the model's configuration, never run.

Only where every request is known from literals of the two files: a synthetic data set of `tokenid`, or JSON lines that one
text template turns into prompts, both with answers of `max_out_len` tokens (`ignore_eos=True`). AISBench 3.1 takes the
first records of the file, in their order.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serviceoptd.benchmarks.ais_bench.files import ConfigFile, literals, parsed
from serviceoptd.benchmarks.ais_bench.model import ModelFile

FILES = {"GSM8KDataset": "test.jsonl", "CustomDataset": ""}
"""Classes whose data are JSON lines, and the file of it that is sent where the path is a directory."""
PLAIN = {"PromptTemplate", "ZeroRetriever", "GenInferencer"}
"""Classes that send each record once, without examples, as the template says."""


def requests_of(dataset: ConfigFile, model: ModelFile, paths: Sequence[Path], tokenizer: str | None) -> dict[str, Any]:
    """Keys of `[simulated]`; empty where a request cannot be known.

    Args:
        dataset, model: the two configurations.
        paths: where the data are that `dataset` names, as far as they are there.
        tokenizer: directory of the one that counts.
    """
    output = model.stated("max_out_len")
    if type(output) is not int or output < 1 or not model.ignores_eos() or dataset.companions():
        return {}
    kinds = _classes(dataset)
    sources = {name for name in kinds if name.endswith("Dataset")}
    if sources == {"SyntheticDataset"}:
        return _synthetic(dataset, output)
    if len(sources) != 1 or not sources <= FILES.keys() or not kinds >= PLAIN or len(paths) != 1:
        return {}
    templates, ranges = literals(dataset, "template"), literals(dataset, "test_range")
    if len(templates) != 1 or not isinstance(templates[0], str) or ranges:
        return {}
    path = paths[0] / FILES[sources.pop()] if paths[0].is_dir() else paths[0]
    if path.with_name(f"{path.name}.meta.json").exists() or any(literals(dataset, "meta_path")):
        return {}  # it may choose other records and lengths
    template = templates[0]
    for column in literals(dataset, "output_column"):
        template = template.replace(f"{{{column}}}", "")  # the answer is not sent
    found: dict[str, Any] = {"path": str(path), "kind": "ais_bench", "template": template}
    known = {"tokenizer": tokenizer} if tokenizer else {}
    return {"data_set": {**found, **known, "output_tokens": output, "shuffled": False}}


def _synthetic(dataset: ConfigFile, output: int) -> dict[str, Any]:
    sizes = literals(dataset, "RequestSize")
    tokens = [str(kind).lower() for kind in literals(dataset, "Type")] == ["tokenid"]
    if (
        not tokens
        or len(sizes) != 1
        or type(sizes[0]) is not int
        or sizes[0] < 1
        or any(literals(dataset, "PrefixLen"))
    ):
        return {}
    return {"input_tokens": sizes[0], "output_tokens": output}


def _classes(dataset: ConfigFile) -> set[str]:
    """The names that stand behind `type=`."""
    return {
        ast.unparse(node.value).rpartition(".")[2]
        for node in ast.walk(parsed(dataset))
        if isinstance(node, ast.keyword) and node.arg == "type" and isinstance(node.value, ast.Name | ast.Attribute)
    }
