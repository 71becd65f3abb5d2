"""What a program printed, read as the types of docs/api.md, with not a key more and not a key less."""

from __future__ import annotations

import json
from typing import Any

import msgspec


def strictly(document: Any, *kinds: type[msgspec.Struct]) -> msgspec.Struct:
    """The document as the first kind that it is to the last key.

    A key that no struct has, at any depth, would be lost on the way to the type and back.
    """
    faults = []
    for kind in kinds:
        try:
            typed = msgspec.convert(document, kind, strict=True)
        except msgspec.ValidationError as error:
            faults.append(f"{kind.__name__}: {error}")
            continue
        if (back := json.loads(msgspec.json.encode(typed))) == document:
            return typed
        faults.append(f"{kind.__name__} would be {back}")
    raise AssertionError(f"{document} is none of these: {'; '.join(faults)}")
