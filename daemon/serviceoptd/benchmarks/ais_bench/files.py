"""Where AISBench's configuration files are: in the user's directory, or in the package that `ais_bench` belongs to.

Reads files, imports and starts nothing. The rules are AISBench's own (3.1): a file is found by its name anywhere below
`models` or `datasets`, upper or lower case, and the user's directory comes first.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from serviceopt_journal.errors import EnvironmentLacks, InvalidConfiguration
from serviceopt_journal.foreign_files import MIB, UnfitFile, content
from serviceopt_journal.foreign_text import json_value
from serviceoptd.toolkit import program
from serviceoptd.toolkit.find_program import find_program
from serviceoptd.toolkit.interface import Workplace
from serviceoptd.toolkit.provenance import prefixes

Kind = Literal["models", "datasets"]
LARGEST = 16 * MIB
"""Bytes of a configuration file that is read."""
USUAL_DIRECTORY = "configs"
CACHE = "AIS_BENCH_DATASETS_CACHE"
_BELOW = {"models": ("models",), "datasets": ("datasets", "dataset_collections")}
_INSIDE = Path("ais_bench", "benchmark", "configs")
_WORDS = {"models": "model", "datasets": "data set"}


@dataclass(frozen=True)
class ConfigFile:
    """A configuration file of AISBench, and the directory with `models` and `datasets` that it was found in."""

    path: Path
    root: Path

    @property
    def place(self) -> Path:
        """The path of the file below the root."""
        return self.path.relative_to(self.root)

    def content(self) -> bytes:
        """The bytes of the file.

        Raises:
            EnvironmentLacks: it cannot be read.
        """
        try:
            return content(self.path, LARGEST, through_links=True)
        except OSError as error:
            raise EnvironmentLacks(f"{self.path} cannot be read: {error.strerror}", hint="allow it") from error

    def companions(self) -> list[ConfigFile]:
        """The files beside it that it builds on, by `with read_base(): from .other import ...`, and theirs.

        Raises:
            InvalidConfiguration: one of them lies outside the root, so it cannot go with a copy.
        """
        found: dict[Path, ConfigFile] = {}
        waiting: list[ConfigFile] = [self]
        while waiting:
            for other in _bases(waiting.pop()):
                if other.path not in found and other.path != self.path:
                    found[other.path] = other
                    waiting.append(other)
        return [found[path] for path in sorted(found)]


def find(kind: Kind, name: str, roots: Sequence[Path]) -> ConfigFile:
    """The configuration of this name in the first of these directories that has one.

    Raises:
        InvalidConfiguration: a directory has several, and AISBench would take one of them without a word.
        EnvironmentLacks: none has it.
    """
    for root in roots:
        matching = sorted(_named(f"{name}.py", [root / below for below in _BELOW[kind]]))
        if len(matching) > 1:
            raise InvalidConfiguration(
                f"{name} is the name of several configurations: {', '.join(map(str, matching))}",
                hint="rename all but one",
            )
        if matching:
            return ConfigFile(matching[0], root)
    looked = (
        ", ".join(str(root) for root in roots) or "nowhere: neither a config_dir nor the installed package was found"
    )
    raise EnvironmentLacks(
        f"AISBench has no {_WORDS[kind]} configuration named {name}",
        hint=f"searched for {kind}/**/{name}.py in {looked}; `config_dir` names a directory of your own",
    )


def directories(given: str | None, client: str, workplace: Workplace) -> list[Path]:
    """Where to look, in order: the user's directory, then the configurations that came with the program.

    Raises:
        EnvironmentLacks: the user's directory is named and not there.
    """
    own = workplace.working_directory / (program.located(given, workplace) if given else USUAL_DIRECTORY)
    if given and not own.is_dir():
        raise EnvironmentLacks(f"the configuration directory {own} does not exist", hint="correct `config_dir`")
    installed = installed_directory(client, workplace)
    return [directory for directory in (own, installed) if directory is not None and directory.is_dir()]


def installed_directory(client: str, workplace: Workplace) -> Path | None:
    """The configurations of the package that this program belongs to; also of an editable installation."""
    try:
        found = find_program(program.located(client, workplace), workplace.environment, workplace.working_directory)
    except EnvironmentLacks:
        return None
    script = found.resolve()
    for prefix in dict.fromkeys([*prefixes(script), script.parent.parent]):
        for packages in sorted(prefix.glob("lib*/python3*/*-packages")):
            for place in (packages, *_editable(packages)):
                if (place / _INSIDE / "models").is_dir():
                    return place / _INSIDE
    return None


def packages(client: str, workplace: Workplace) -> Path | None:
    """The directory that AISBench is installed in; None: it is not."""
    installed = installed_directory(client, workplace)
    return installed.parents[len(_INSIDE.parts) - 1] if installed else None


def data_paths(dataset: ConfigFile, client: str, workplace: Workplace) -> list[Path]:
    """The data files that a data set's configuration names by `path=`, as far as they are there."""
    named = [text for text in literals(dataset, "path") if isinstance(text, str) and text]
    return list(dict.fromkeys(path for text in named if (path := located_data(text, client, workplace))))


def located_data(text: str, client: str, workplace: Workplace) -> Path | None:
    """Where a path of a data set is: a relative one below AISBench's cache or, without one, its own installation."""
    cache = workplace.environment.get(CACHE)
    base = Path(cache) if cache else packages(client, workplace)
    path = base / text if base else Path(text)
    return path if path.is_absolute() and path.exists() else None


def installed_bases(dataset: ConfigFile, client: str, workplace: Workplace) -> list[ConfigFile]:
    """The files that it builds on by their whole name, such as `ais_bench.datasets.synthetic.synthetic_config`."""
    root = packages(client, workplace)
    if root is None:
        return []
    imports = (
        statement
        for block in ast.walk(parsed(dataset))
        if isinstance(block, ast.With) and any(is_read_base(item.context_expr) for item in block.items)
        for statement in block.body
        if isinstance(statement, ast.ImportFrom) and not statement.level
    )
    paths = (path for statement in imports for path in base_files(statement, dataset, root))
    return [ConfigFile(path, root) for path in paths if path.is_file()]


def request_count(dataset: ConfigFile) -> int | None:
    """How many requests a synthetic data set makes, where its configuration says it in so many words."""
    counts = [value for value in literals(dataset, "RequestCount") if isinstance(value, int)]
    return counts[0] if len(counts) == 1 else None


def _named(name: str, directories: Sequence[Path]) -> Iterator[Path]:
    for directory in directories:
        for place, _, files in os.walk(directory):
            yield from (Path(place, file) for file in files if file.lower() == name.lower())


def parsed(file: ConfigFile) -> ast.Module:
    """The file as Python's parser reads it.

    Raises:
        InvalidConfiguration: it is not Python.
    """
    try:
        return ast.parse(file.content())
    except (SyntaxError, ValueError) as error:
        raise InvalidConfiguration(f"{file.path} is not a Python file: {error}", hint="correct it") from error


def _bases(file: ConfigFile) -> Iterator[ConfigFile]:
    for block in ast.walk(parsed(file)):
        if not isinstance(block, ast.With) or not any(is_read_base(item.context_expr) for item in block.items):
            continue
        for statement in block.body:
            if isinstance(statement, ast.ImportFrom) and statement.level:
                for path in base_files(statement, file, None):
                    if not path.is_relative_to(file.root):
                        raise InvalidConfiguration(
                            f"{file.path} builds on {path}, which is outside {file.root}",
                            hint="move it below, so that it can be copied with it",
                        )
                    yield ConfigFile(path, file.root)


def base_files(statement: ast.ImportFrom, file: ConfigFile, packages: Path | None) -> Iterator[Path]:
    """The files that an import of `read_base` names; those of a whole name are below `packages`, if that is known."""
    directory = file.path.parents[statement.level - 1] if statement.level else packages
    if directory is None:
        return
    modules = [statement.module] if statement.module else [alias.name for alias in statement.names]
    yield from (directory.joinpath(*module.split(".")).with_suffix(".py") for module in modules)


def is_read_base(expression: ast.expr) -> bool:
    """Whether a `with` of this is how AISBench's files build on others."""
    return isinstance(expression, ast.Call) and ast.unparse(expression.func).rpartition(".")[2] == "read_base"


def literals(file: ConfigFile, key: str) -> list[Any]:
    """Every constant that stands behind this key, in whichever dictionary or call."""
    found: list[Any] = []
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.keyword) and node.arg == key and isinstance(node.value, ast.Constant):
            found.append(node.value.value)
        elif isinstance(node, ast.Dict):
            for name, value in zip(node.keys, node.values, strict=True):
                if isinstance(name, ast.Constant) and name.value == key and isinstance(value, ast.Constant):
                    found.append(value.value)
    return found


def _editable(packages: Path) -> Iterator[Path]:
    """Source directories that an installation with `pip install -e` refers to."""
    for note in sorted(packages.glob("ais_bench*.dist-info/direct_url.json")):
        try:
            url = urlsplit(json_value(content(note, LARGEST, through_links=True))["url"])
        except (OSError, UnfitFile, ValueError, KeyError, TypeError):
            continue  # a damaged note only means that nothing is found there
        if url.scheme == "file":
            yield Path(unquote(url.path))
    for note in sorted([*packages.glob("*.pth"), *packages.glob("ais*bench*.egg-link")]):
        try:
            lines = content(note, LARGEST, through_links=True).decode(errors="replace").splitlines()
        except (OSError, UnfitFile):
            continue
        yield from (Path(line.strip()) for line in lines if line.startswith("/"))
