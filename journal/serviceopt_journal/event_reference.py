"""Writes docs/events.md from the event types themselves: `python -m serviceopt_journal.event_reference`."""

from __future__ import annotations

import inspect
import sys

import msgspec

from . import events
from .codec import Recorded
from .events import EVENT_TYPES
from .metrics import Metrics, Tail
from .proof import Proof, SloProof
from .struct_reference import documented, own_fields, table
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
    """The text of the page docs/events.md."""
    parts = [_INTRODUCTION, _described(Recorded, "## The record around each event")]
    sections = _headings()
    for event_type in EVENT_TYPES:
        if heading := sections.get(event_type.__name__):
            parts.append(f"## {heading}\n")
        title = f"### `{tag_of(event_type)}`, version {version_of(event_type)}"
        parts.append(_described(event_type, title))
    parts.append(_described(Metrics, "## Metrics"))
    parts.append(_described(Tail, "## Tail of metrics"))
    parts.append(_described(Proof, "## Proof"))
    parts.append(_described(SloProof, "## SLO of a proof"))
    return "\n".join(parts)


def _described(structure: type[msgspec.Struct], title: str) -> str:
    lines = [title, "", documented(structure), ""]
    rows = [
        (f"`{each.name}`", f"`{each.annotation}`", _default(each.default), each.meaning)
        for each in own_fields(structure)
    ]
    return "\n".join([*lines, *table(("field", "type", "default", "meaning"), rows), ""] if rows else lines)


def _default(default: object) -> str:
    return "required" if default is msgspec.NODEFAULT else f"`{default!r}`"


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
