"""AISBench's model configuration: a Python file with `models = [dict(...)]`, read and rewritten without running it. Pure.

Only the values that are asked for change; everything else stays byte for byte.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serviceopt_journal.errors import InvalidConfiguration

Value = int | float | str
_WAY_OUT = "write it as AISBench's own files are: models = [dict(..., request_rate=0, batch_size=1, ...)]"
_SALTED = ast.Call | ast.Dict | ast.Name


@dataclass(frozen=True)
class ModelFile:
    """The one model that a configuration file describes. `name` is the file's, for messages."""

    name: str
    encoding: str
    text: str
    entry: tuple[tuple[str, ast.expr], ...]  # key and value, in the order of the file

    @staticmethod
    def read(source: bytes, name: str) -> ModelFile:
        """Finds the model's keys.

        Raises:
            InvalidConfiguration: the file is not Python, or its model cannot be found in it without running it.
        """
        try:
            encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
            text = source.decode(encoding)
            tree = ast.parse(text)
        except (SyntaxError, ValueError) as error:
            raise InvalidConfiguration(f"{name} is not a Python file: {error}", hint="correct it") from error
        return ModelFile(name, encoding, text, _entry(tree, name))

    def stated(self, key: str) -> Any:
        """The literal value of a key; None where there is none, or something else than a literal."""
        for name, node in reversed(self.entry):
            if name == key:
                try:
                    return ast.literal_eval(node)
                except ValueError:
                    return None
        return None

    def has(self, key: str) -> bool:
        """Whether the model has this key, whatever its value."""
        return any(name == key for name, _ in self.entry)

    def kind(self) -> str:
        """The class of AISBench that sends the requests, such as `VLLMCustomAPIChat`; empty where it is not a name."""
        found = [node for name, node in self.entry if name == "type"]
        if found and isinstance(found[-1], ast.Constant):
            return str(found[-1].value).rpartition(".")[2]
        return ast.unparse(found[-1]).rpartition(".")[2] if found else ""

    def ignores_eos(self) -> bool:
        """Whether every answer has as many tokens as may be asked for (`ignore_eos=True` in `generation_kwargs`)."""
        told = [node for key, node in self.entry if key == "generation_kwargs"]
        pairs: list[tuple[str | None, ast.expr]] = []
        if told and isinstance(told[-1], ast.Call):
            pairs = [(keyword.arg, keyword.value) for keyword in told[-1].keywords]
        elif told and isinstance(told[-1], ast.Dict):
            keys = (key.value if isinstance(key, ast.Constant) else None for key in told[-1].keys)
            pairs = list(zip((str(key) for key in keys), told[-1].values, strict=True))
        return any(key == "ignore_eos" and isinstance(node, ast.Constant) and node.value is True for key, node in pairs)

    def rewritten(self, values: Mapping[str, Value], salt: str | None = None) -> bytes:
        """The file with these values in the place of its own, and `salt` as `cache_salt` of every request.

        Raises:
            InvalidConfiguration: the model has no such key.
        """
        if missing := [key for key in values if not self.has(key)]:
            raise InvalidConfiguration(
                f"{self.name} has no {', '.join(missing)}: the value cannot be set", hint=_WAY_OUT
            )
        edits = [(node, repr(values[key])) for key, node in self.entry if key in values]
        lines = self.text.encode().splitlines(keepends=True)
        starts = [0]
        for line in lines:
            starts.append(starts[-1] + len(line))
        source = b"".join(lines)

        def span(node: ast.expr) -> tuple[int, int]:
            assert node.end_lineno is not None  # noqa: S101 - of a tree that was parsed
            assert node.end_col_offset is not None  # noqa: S101 - of a tree that was parsed
            return starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset

        changes = [(*span(node), literal.encode()) for node, literal in edits]
        if salt is not None:
            for start, end in (span(node) for key, node in self.entry if key == "generation_kwargs"):
                changes.append((start, end, b"dict(" + source[start:end] + f", cache_salt={salt!r})".encode()))
        for start, end, replacement in sorted(changes, reverse=True):
            source = source[:start] + replacement + source[end:]
        return self._checked(source.decode().encode(self.encoding), values)

    def can_be_salted(self) -> bool:
        """Whether its requests carry further keys, and its service is one that knows `cache_salt` or ignores it."""
        return self.kind().lower().startswith("vllm") and any(
            key == "generation_kwargs" and isinstance(node, _SALTED) for key, node in self.entry
        )

    def _checked(self, source: bytes, values: Mapping[str, Value]) -> bytes:
        written = ModelFile.read(source, self.name)
        if wrong := [key for key, value in values.items() if written.stated(key) != value]:
            raise InvalidConfiguration(f"{self.name}: {', '.join(wrong)} cannot be rewritten safely", hint=_WAY_OUT)
        return source


def _entry(tree: ast.Module, name: str) -> tuple[tuple[str, ast.expr], ...]:
    value = _resolved(ast.Name("models"), tree, name)
    if not isinstance(value, ast.List | ast.Tuple) or not value.elts:
        raise InvalidConfiguration(f"{name}: no `models = [...]` can be found in it", hint=_WAY_OUT)
    if len(value.elts) > 1:
        raise InvalidConfiguration(
            f"{name} describes {len(value.elts)} models: one service is measured", hint="keep one of them in a file"
        )
    element = _resolved(value.elts[0], tree, name)
    if isinstance(element, ast.Call) and isinstance(element.func, ast.Name) and element.func.id == "dict":
        return tuple((keyword.arg, keyword.value) for keyword in element.keywords if keyword.arg)
    if isinstance(element, ast.Dict):
        return tuple(
            (key.value, inner)
            for key, inner in zip(element.keys, element.values, strict=True)
            if isinstance(key, ast.Constant) and isinstance(key.value, str)
        )
    raise InvalidConfiguration(f"{name}: its model is not written as dict(...) or {{...}}", hint=_WAY_OUT)


def _resolved(value: ast.expr, tree: ast.Module, name: str) -> ast.expr:
    """What a variable was assigned, provided that nothing else in the file can change it."""
    if not isinstance(value, ast.Name):
        return value
    uses = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == value.id]
    assigned = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name) and target.id == value.id
    ]
    read = 0 if value.id == "models" else 1
    if len(assigned) != 1 or len(uses) > 1 + read:
        how = "is not assigned in it" if not assigned else "is changed after it was assigned"
        raise InvalidConfiguration(f"{name}: `{value.id}` {how}, so its values cannot be found", hint=_WAY_OUT)
    return assigned[0]
