"""Records the journal of a release as a test asset: `python tests/journal/releases/record.py 0.1.0`.

Once a release is out, its directory here is never changed again: it stands for the journals that users have.
"""

from __future__ import annotations

import sys
import types
import typing
from pathlib import Path

import msgspec

from serviceopt_journal.events import EVENT_TYPES, Event
from serviceopt_journal.store import Journal

HERE = Path(__file__).parent


class ReleaseClock:
    """Always the same moment, so that an asset depends on the event types only."""

    def wall(self) -> float:
        return 1_750_000_000.25

    def monotonic(self) -> float:
        return 12.5

    def boot_id(self) -> str:
        return "0b2c8a5e-bd4b-4c66-a3d6-0aa3d3bb4a52"


def sample(struct: type[msgspec.Struct]) -> msgspec.Struct:
    """A value of this type with every field filled."""
    hints = typing.get_type_hints(struct)
    names = [field.name for field in msgspec.structs.fields(struct) if field.name != "v"]
    return struct(**{name: _value(hints[name], name) for name in names})


def _value(hint: object, name: str) -> object:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {types.UnionType, typing.Union}:
        return _value(arguments[0], name)
    if origin is typing.Literal:
        return arguments[-1]
    if origin is tuple:
        return (_value(arguments[0], name), _value(arguments[0], name))
    if origin is dict:
        return {name: _value(arguments[1], name)}
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return sample(hint)
    simple: dict[object, object] = {bool: True, int: 3, float: 0.125, str: f"{name} é\n", typing.Any: [1, None]}
    return simple[hint]


def record(directory: Path) -> None:
    """One event of every type, two to a commit."""
    events = [typing.cast("Event", sample(event_type)) for event_type in EVENT_TYPES]
    with Journal.open(directory, clock=ReleaseClock()) as journal:
        for start in range(0, len(events), 2):
            journal.append(*events[start : start + 2])
    (directory / "journal.lock").unlink()


if __name__ == "__main__":
    target = HERE / sys.argv[1]
    if target.exists():
        raise SystemExit(f"{target} exists: a released journal is never changed")
    record(target)
