"""Keys of the predecessor and of its successor that need nothing here: taken out before the rest is checked, and told once.

The names are those of their settings; what each did there and why it is not needed here: docs/migration.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .positions import Path, dotted
from .problems import ConfigProblem
from .source import Source

PLACES = "everything lies beside the journal, in directories of its own"
NOT_KILLED = "nothing is killed by its name"
FROM_THE_FILE = "the model configuration of AISBench holds it"
FROM_THE_DIRECTORY = "found below `kubectl_default_path`"

TOP: Mapping[str, str] = {
    "output": PLACES,
    "simulator_output": PLACES,
    "communication": "machines do not talk through files",
    "latency_model": "`model` in [simulated] names the latency model",
    "pso_options": "`coefficients` in [search], with `strategy = \"pso\"`",
    "pso_strategy": "`coefficients` in [search], with `strategy = \"pso\"`",
    "ftol": "`target` ends a search when little more is expected",
    "ftol_iter": "`target` ends a search when little more is expected",
}  # fmt: skip

OF_ANY_SECTION: Mapping[str, str] = {
    "output": PLACES,
    "output_path": PLACES,
    "work_path": "`working_directory` is the key",
    "process_name": NOT_KILLED,
}

OF_SECTIONS: Mapping[tuple[str, ...], str] = {
    ("vllm_benchmark", "command", "serving"): "it had no effect there either",
    ("vllm_benchmark", "command", "result_dir"): PLACES,
    **{("ais_bench", key): FROM_THE_FILE for key in ("model", "path", "host_ip", "host_port", "max_out_len")},
    ("ais_bench", "best_concurrency_coefficient"): "the search itself finds the load",
    ("ais_bench", "best_concurrency_threshold"): "the search itself finds the load",
    **{
        ("kubectl", key): FROM_THE_DIRECTORY
        for key in (
            "kubectl_single_path", "kubectl_log_path", "config_single_path", "config_single_bak_path",
            "config_single_pd_path", "config_single_pd_bak_path", "delete_path",
        )
    },
}  # fmt: skip


CHOICES: Mapping[str, str] = {
    "benchmark": "the client of this name is gone: `[ais_bench.command]` or `[vllm_benchmark.command]` describes another",
    "engine": "the engine's own name is that of its table: `[mindie]`, `[vllm]`",
}
"""What the predecessor's earlier releases had tables for: here each is the name of the one that is chosen."""


def without_needless(source: Source, known: Mapping[str, frozenset[str]]) -> tuple[Source, list[ConfigProblem]]:
    """The source without keys that need nothing here, and one remark for each reason.

    `known`: section -> the keys that it has here. A key that means something in its section is left alone.
    """
    document = dict(source.document)
    reasons: dict[str, list[Path]] = {}
    for key in [key for key in TOP if key in document and key not in known]:
        reasons.setdefault(TOP[key], []).append((key,))
        del document[key]
    for key in [key for key in CHOICES if any(path[0] == key and len(path) > 1 for path in source.positions.lines)]:
        reasons.setdefault(CHOICES[key], []).append((key,))
        if isinstance(document.get(key), dict):
            del document[key]
    for section, own in known.items():
        table = document.get(section)
        if not isinstance(table, dict):
            continue
        kept, found = _kept(section, table, own)
        document[section] = kept
        for path, reason in found:
            reasons.setdefault(reason, []).append(path)
    told = [
        replace(source, overridden=frozenset()).problem(paths[0], f"accepted, without effect{_besides(paths)}", reason)
        for reason, paths in reasons.items()
    ]
    return replace(source, document=document), told


def _kept(section: str, table: Mapping[str, Any], own: frozenset[str]) -> tuple[dict[str, Any], list[tuple[Path, str]]]:
    found: list[tuple[Path, str]] = []
    kept: dict[str, Any] = {}
    for key, value in table.items():
        reason = OF_SECTIONS.get((section, key)) or OF_ANY_SECTION.get(key)
        if reason and key not in own:
            found.append(((section, key), reason))
            continue
        kept[key] = value
        if isinstance(value, dict):
            needless = {name: OF_SECTIONS[section, key, name] for name in value if (section, key, name) in OF_SECTIONS}
            found += [((section, key, name), why) for name, why in needless.items()]
            kept[key] = {name: inner for name, inner in value.items() if name not in needless}
    return kept, found


def _besides(paths: list[Path]) -> str:
    return f", as {', '.join(map(dotted, paths[1:]))}" if len(paths) > 1 else ""
