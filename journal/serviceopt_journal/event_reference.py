"""Writes docs/events.md from the event types themselves: `python -m serviceopt_journal.event_reference`."""

from __future__ import annotations

import ast
import inspect
import sys
from types import ModuleType

import msgspec

from . import codec, events, metrics, proof
from .events import EVENT_TYPES
from .upcasting import tag_of, version_of

_INTRODUCTION = """# Events

Generated from the types by `python -m serviceopt_journal.event_reference > docs/events.md`; do not edit.

Everything that happens is one of these events, in the order in which it was committed. `serviceoptctl events --json`
and `serviceoptctl export --events` show them; in `journal.db` the view `events` has the most used fields as columns and
`body` as JSON, and the views `runs`, `evaluations`, `measurements`, `rejections` and `best` are made from them.

Times are seconds, rates are per second, sizes are bytes. A run counts from 1 in the journal, a particle and an
evaluation from 1 in their run, a measurement from 1 in its evaluation. Within a version fields are only ever added, with a
default; readers should ignore fields and types that they do not know.
"""


def reference() -> str:
    """The whole page."""
    parts = [_INTRODUCTION, _section(codec, "Recorded", "The record around each event")]
    sections = _headings()
    for event_type in EVENT_TYPES:
        if heading := sections.get(event_type.__name__):
            parts.append(f"## {heading}\n")
        title = f"### `{tag_of(event_type)}`, version {version_of(event_type)}"
        parts.append(_described(events, event_type.__name__, title))
    parts.append(_section(metrics, "Metrics", "Metrics"))
    parts.append(_section(metrics, "Tail", "Tail of metrics"))
    parts.append(_section(proof, "Proof", "Proof"))
    parts.append(_section(proof, "SloProof", "SLO of a proof"))
    return "\n".join(parts)


def _section(module: ModuleType, name: str, heading: str) -> str:
    return _described(module, name, f"## {heading}")


def _described(module: ModuleType, name: str, title: str) -> str:
    structure: type[msgspec.Struct] = getattr(module, name)
    annotations = _annotations(module, name)
    lines = [title, "", inspect.cleandoc(structure.__doc__ or ""), ""]
    rows = []
    for field in msgspec.structs.fields(structure):
        if field.name == "v" and field.name not in annotations:
            continue
        annotation, comment = annotations[field.name]
        rows.append(f"| `{field.name}` | `{annotation.replace('|', chr(92) + '|')}` | {_default(field)} | {comment} |")
    if rows:
        lines += ["| field | type | default | meaning |", "|---|---|---|---|", *rows, ""]
    return "\n".join(lines)


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.default is not msgspec.NODEFAULT:
        return f"`{field.default!r}`"
    if field.default_factory is not msgspec.NODEFAULT:
        return f"`{field.default_factory()!r}`"
    return "required"


def _annotations(module: ModuleType, name: str) -> dict[str, tuple[str, str]]:
    """Field -> its annotation as written, and the comment behind it."""
    source = inspect.getsource(module)
    lines = source.splitlines()
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return {
                statement.target.id: (ast.unparse(statement.annotation), _comment(lines, statement))
                for statement in node.body
                if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
            }
    raise LookupError(name)


def _comment(lines: list[str], statement: ast.stmt) -> str:
    behind = lines[(statement.end_lineno or statement.lineno) - 1].encode()[statement.end_col_offset or 0 :].decode()
    return behind.partition("#")[2].strip().replace("|", "\\|")


def _headings() -> dict[str, str]:
    """First event type of a section -> its heading, from the rulers in the source."""
    headings, pending = {}, ""
    for line in inspect.getsource(events).splitlines():
        if line.startswith("# ----"):
            pending = line.strip("# -").capitalize()
        elif pending and line.startswith("class "):
            headings[line.removeprefix("class ").partition("(")[0]] = pending
            pending = ""
    return headings


if __name__ == "__main__":
    sys.stdout.write(reference())
