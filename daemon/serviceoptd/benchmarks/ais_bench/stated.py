"""The values that a configuration file of AISBench states, found without running it.

What only running it would tell (a loop, a condition, a call other than `dict`) is `UNKNOWN`, and so is what such a
statement may change.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serviceoptd.benchmarks.ais_bench.files import ConfigFile, base_files, is_read_base, parsed


@dataclass(frozen=True)
class Named:
    """A class or another object that the file only names."""

    name: str


class _Unknown:
    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Any = _Unknown()
DEEPEST = 8
"""Files that build on each other, one behind the other."""


def as_table(value: Any) -> Mapping[str, Any]:
    """The table; an empty one in the place of anything else."""
    return value if isinstance(value, dict) else {}


def name_of(value: Any) -> str:
    """The last name of a class that is named, or written as a text."""
    return value.name if isinstance(value, Named) else str(value).rpartition(".")[2]


def stated_in(file: ConfigFile, packages: Path | None, depth: int = 0) -> dict[str, Any]:
    """Every name of the file's top level with its value.

    Args:
        file: the configuration.
        packages: where the package of AISBench is, for files that it builds on by their whole name.
        depth: how many files build on this one.

    Raises:
        InvalidConfiguration: it, or a file that it builds on, is not Python.
    """
    names: dict[str, Any] = {}
    for statement in parsed(file).body:
        if isinstance(statement, ast.With) and any(is_read_base(item.context_expr) for item in statement.items):
            for imported in (each for each in statement.body if isinstance(each, ast.ImportFrom)):
                names |= _based(imported, file, packages, depth)
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name: Named(alias.name.rpartition(".")[2]) for alias in statement.names}
        elif isinstance(statement, ast.Assign) and all(isinstance(target, ast.Name) for target in statement.targets):
            value = value_of(statement.value, names)
            names |= {target.id: value for target in statement.targets if isinstance(target, ast.Name)}
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
            names[statement.target.id] = value_of(statement.value, names)
        elif not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
            touched = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
            names |= dict.fromkeys(touched & names.keys() | _assigned(statement), UNKNOWN)
    return names


def _based(imported: ast.ImportFrom, file: ConfigFile, packages: Path | None, depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in base_files(imported, file, packages):
        if path.is_file() and depth < DEEPEST:
            found |= stated_in(ConfigFile(path, file.root), packages, depth + 1)
    if any(alias.name == "*" for alias in imported.names):
        return found
    return {alias.asname or alias.name: found.get(alias.name, UNKNOWN) for alias in imported.names}


def value_of(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """What an expression states, with the values of the names in it."""
    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            return names.get(node.id, Named(node.id))  # a class that the file forgot to import
        case ast.Attribute():
            return Named(node.attr)
        case ast.List() | ast.Tuple():
            return [value_of(each, names) for each in node.elts]
        case ast.Dict():
            return _mapping(
                [(key and value_of(key, names), value) for key, value in zip(node.keys, node.values, strict=True)],
                names,
            )
        case ast.Call(func=ast.Name(id="dict") | ast.Subscript(value=ast.Name(id="dict"))) if not node.args:
            return _mapping([(keyword.arg, keyword.value) for keyword in node.keywords], names)
        case ast.BinOp(op=ast.Add()):
            left, right = value_of(node.left, names), value_of(node.right, names)
            return left + right if type(left) is type(right) and isinstance(left, str | list | int) else UNKNOWN
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.JoinedStr():
            parts = [value_of(part, names) for part in node.values]
            return UNKNOWN if UNKNOWN in parts else "".join(map(str, parts))
        case ast.FormattedValue(format_spec=None, conversion=-1):
            value = value_of(node.value, names)
            return value if isinstance(value, str | int) else UNKNOWN
    return UNKNOWN


def _mapping(pairs: list[tuple[Any, ast.expr]], names: Mapping[str, Any]) -> Any:
    found: dict[Any, Any] = {}
    for key, node in pairs:
        value = value_of(node, names)
        if key is None:  # `**other`
            if not isinstance(value, dict):
                return UNKNOWN
            found |= value
        elif isinstance(key, str):
            found[key] = value
        else:
            return UNKNOWN
    return found


def _assigned(statement: ast.stmt) -> set[str]:
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
