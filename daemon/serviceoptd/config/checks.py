"""What is checked besides the keys: the choice of engine and client, the environment, secrets in the file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any

from serviceoptd.domain.settings import Field
from serviceoptd.domain.space.constraints import names_of, spelling
from serviceoptd.toolkit.secrets import mask

from .explain import did_you_mean
from .plugins import BrokenPlugin, Plugins
from .positions import Path, dotted
from .problems import ConfigProblem
from .schema import Document
from .sections import Role
from .source import ENVIRONMENT, Source
from .values import LOG_LEVELS

DEFAULT_ENGINE = "simulated"
USUAL_CLIENT = {"vllm": "vllm_benchmark", "mindie": "ais_bench", "mindie_kubernetes": "ais_bench"}
"""The client of an engine where none is chosen; otherwise the one of the engine's own name."""


def selected(
    source: Source, available: Plugins, known: Collection[str]
) -> tuple[tuple[str, str], str, list[ConfigProblem]]:
    """Engine and client, a sentence where the engine was assumed, and what is wrong with the choice."""
    engine, benchmark = (
        choice if isinstance(choice := source.document.get(key), str) else None for key in ("engine", "benchmark")
    )
    if engine is None:
        engine = next((e for e, client in USUAL_CLIENT.items() if client == benchmark), benchmark or DEFAULT_ENGINE)
    benchmark = benchmark or USUAL_CLIENT.get(engine) or engine
    assumed = ""
    if not {"engine", "benchmark"} & source.document.keys():
        assumed = f"no engine is chosen: the {engine} one is used"
        others = [name for name in source.document if name in known and name in available.engine_names]
        if others and engine not in others:
            assumed += f"; {source.file} describes {', '.join(others)}: choose with -e"
    problems = _choice(source, available, "engine", engine)
    if not problems or "benchmark" in source.document:  # else the client follows from an engine that there is not
        problems += _choice(source, available, "client", benchmark)
    return (engine, benchmark), assumed, problems


def _choice(source: Source, available: Plugins, role: Role, name: str) -> list[ConfigProblem]:
    key = "engine" if role == "engine" else "benchmark"
    names, get = (
        (available.engine_names, available.engine)
        if role == "engine"
        else (available.benchmark_names, available.benchmark)
    )
    allowed = f"available: {', '.join(names)}"
    if name in names:
        try:
            get(name)
        except BrokenPlugin as error:
            return [source.problem((key,), error.message, allowed)]
        return []
    return [source.problem((key,), f"{key} `{name}` is not installed{did_you_mean(name, names)}", allowed)]


def search_problems(source: Source, available: Plugins) -> list[ConfigProblem]:
    """A strategy or a rule that is not installed or broken. Told also where another key is why nothing can be built."""
    search = source.document.get("search")
    if not isinstance(search, dict):
        return []
    strategy, given = search.get("strategy"), search.get("rules")
    rules = given if isinstance(given, list) else []
    problems: list[ConfigProblem] = []
    place: Path = ("search", "strategy")
    if isinstance(strategy, str):
        problems += _installed(
            source, place, strategy, available.strategy_names, partial(available.look_at, "strategy")
        )
    for index, rule in enumerate(rules):
        if not isinstance(rule, str):
            continue
        place = ("search", "rules", index)
        problems += _installed(source, place, rule, available.rule_names, partial(available.look_at, "rule"))
        if rule in rules[:index]:
            problems.append(source.problem(place, f'"{rule}" is listed twice', "list each rule once"))
    return problems


def constraint_problems(source: Source, fields: Iterable[Field]) -> list[ConfigProblem]:
    """Constraints that compare nothing which is searched: most likely a name is misspelt. Told whatever else is wrong."""
    search = source.document.get("search")
    given = search.get("constraint") if isinstance(search, dict) else None
    known = {name: field.name for field in fields for name in names_of(field)}
    problems: list[ConfigProblem] = []
    for index, constraint in enumerate(given if isinstance(given, list) else []):
        sides = [constraint.get(side) for side in ("left", "right")] if isinstance(constraint, dict) else []
        operands = [side for side in sides if isinstance(side, str) and side]
        if not operands or any(spelling(name) in known for name in operands):
            continue
        message = f"{' and '.join(operands)}: no target field has this name{did_you_mean(spelling(operands[0]), known)}"
        allowed = f"at least one side must be one of {', '.join(dict.fromkeys(known.values()))}"
        problems.append(source.problem(("search", "constraint", index, "left"), message, allowed))
    return problems


def _installed(
    source: Source, path: Path, name: str, names: Collection[str], get: Callable[[str], object]
) -> list[ConfigProblem]:
    allowed = "one of " + ", ".join(names) if names else "none is installed"
    if name not in names:
        return [source.problem(path, f'"{name}" is not installed{did_you_mean(name, names)}', allowed)]
    try:
        get(name)
    except BrokenPlugin as error:
        return [source.problem(path, error.message, allowed)]
    return []


def environment_values(environment: Mapping[str, str]) -> tuple[dict[str, Any], list[ConfigProblem]]:
    """Top-level keys that the predecessor's variables set, and what is wrong with these variables."""
    values: dict[str, Any] = {}
    problems: list[ConfigProblem] = []
    if level := environment.get("MODELEVALSTATE_LEVEL", "").strip():
        word = {"WARN": "WARNING", "FATAL": "CRITICAL"}.get(level.upper(), level.upper())
        if word in LOG_LEVELS:
            values["log_level"] = word
        else:
            allowed = f"one of {', '.join(LOG_LEVELS)}"
            problems.append(
                ConfigProblem(ENVIRONMENT, 0, "MODELEVALSTATE_LEVEL", f'"{level}" is not a log level', allowed)
            )
    return values, problems


def no_such_key(
    path: Path, top: Mapping[str, Any], known: Collection[str], message: str, allowed: str
) -> tuple[str, str]:
    """A better answer to an unknown key at the top: a table of an engine that is not installed, or of nobody."""
    key = str(path[-1])
    table = top.get(key)
    if len(path) > 1 or not isinstance(table, dict | list):
        return message, allowed
    if key == "target_field":
        return "the fields of no engine or client", f"write [[NAME.target_field]]; NAME: {', '.join(sorted(known))}"
    if isinstance(table, dict) and (ours := sorted(set(table) & set(Document.model_fields))):
        return "there is no such table", f"write {', '.join(ours)} without one, before the first [table] of the file"
    hint = did_you_mean(key, [*known, *Document.model_fields])
    return f"no engine or client of this name is installed{hint}", f"available: {', '.join(sorted(known))}"


def written_secrets(source: Source, sections: Collection[str]) -> list[ConfigProblem]:
    """Secrets in the sections of engine and client: they belong into the environment, which is never shown."""
    found: list[ConfigProblem] = []
    for path in source.positions.values:
        if (
            path[0] in sections
            and isinstance(value := _at(source.document, path), str)
            and mask_of(path, value) != value
        ):
            message = "looks like a secret, and would be stored with the settings"
            found.append(source.problem(path, message, f"give it in the environment instead of {dotted(path)}"))
    return found


def mask_of(path: Path, value: str) -> Any:
    """The value under its key, masked."""
    return mask(str(path[-1]), value)


def _at(document: Any, path: Path) -> Any:
    for step in path:
        document = document[step]
    return document
