"""How events of older releases are read. Stored bytes are never rewritten: old versions are lifted on their way in.

An event type has one current version, the default of its field `v`. A field that was added with a default needs no
entry here; anything else that changed in a version does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from .errors import JournalDamaged, JournalFromTheFuture
from .events import EVENT_TYPES, Event

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes an event's fields as version `v` stored them and returns them as version `v + 1` would have. Pure."""

UPCASTERS: Mapping[tuple[str, int], Upcaster] = {}
"""(type, version) -> the function that lifts this version to the next."""


def version_of(event_type: type[Event]) -> int:
    """The version that this release writes."""
    version = next(field.default for field in msgspec.structs.fields(event_type) if field.name == "v")
    return int(version)


def tag_of(event_type: type[Event]) -> str:
    """The name under which this type is stored."""
    return str(event_type.__struct_config__.tag)


CURRENT_VERSIONS: Mapping[type[Event], int] = {event_type: version_of(event_type) for event_type in EVENT_TYPES}
VERSIONS_BY_TAG: Mapping[str, int] = {tag_of(event_type): version for event_type, version in CURRENT_VERSIONS.items()}


def upcast(
    seq: int,
    event: dict[str, Any],
    *,
    upcasters: Mapping[tuple[str, int], Upcaster] = UPCASTERS,
    versions: Mapping[str, int] = VERSIONS_BY_TAG,
) -> dict[str, Any]:
    """The stored fields of an event in the shape of its current version.

    Raises:
        JournalFromTheFuture: the type is unknown, or its version is newer than this release.
        JournalDamaged: the event has no type, or a version that never was.
    """
    tag, version = event.get("type"), event.get("v")
    if not isinstance(tag, str) or not isinstance(version, int) or version < 1:
        raise JournalDamaged(f"event {seq} has no type and version", first_bad_seq=seq)
    current = versions.get(tag)
    if current is None or version > current:
        raise JournalFromTheFuture(
            f"event {seq} is a {tag!r} of version {version}, which this release does not know",
            hint="use the release of serviceopt that wrote it, or a newer one; nothing was changed",
        )
    lifted = event
    for lower in range(version, current):
        step = upcasters.get((tag, lower))
        lifted = {**(step(lifted) if step else lifted), "type": tag, "v": lower + 1}
    return lifted
