"""Tables of documentation from the types themselves: what a field is called, of what type it is, what it means.

The meaning is the comment behind the field or, where that is long, the lines of comment above it.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

Row = tuple[str, ...]


class Described(msgspec.Struct, frozen=True):
    """One field of a structure, as its source has it."""

    name: str
    annotation: str
    default: Any  # msgspec.NODEFAULT: it is required
    meaning: str


def documented(structure: type[msgspec.Struct]) -> str:
    """The docstring of a struct, as a paragraph."""
    return inspect.cleandoc(structure.__doc__ or "")


def own_fields(structure: type[msgspec.Struct]) -> Iterator[Described]:
    """The fields that the class itself has, and not its bases."""
    module = sys.modules[structure.__module__]
    source = inspect.getsource(module)
    known = {field.name: field for field in msgspec.structs.fields(structure)}
    lines = source.splitlines()
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and node.name == structure.__name__:
            for statement in node.body:
                if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                    field = known[statement.target.id]
                    annotation = ast.unparse(statement.annotation)
                    yield Described(field.name, annotation, _default(field), _comment(lines, statement))


def table(headings: Row, rows: Iterable[Row]) -> list[str]:
    """The lines of a table; bars in cells are escaped."""
    lines = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in (headings, *rows)]
    return [lines[0], "|" + "---|" * len(headings), *lines[1:]]


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default is not msgspec.NODEFAULT:
        return field.default
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return msgspec.NODEFAULT


def _comment(lines: list[str], statement: ast.stmt) -> str:
    last = (statement.end_lineno or statement.lineno) - 1
    behind = lines[last].encode()[statement.end_col_offset or 0 :].decode().partition("#")[2].strip()
    if behind:
        return behind
    above: list[str] = []
    for line in reversed(lines[: statement.lineno - 1]):
        if not line.lstrip().startswith("#"):
            break
        above.insert(0, line.lstrip(" #"))
    return " ".join(above)
