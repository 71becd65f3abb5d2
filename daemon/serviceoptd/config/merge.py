"""Defaults under what the user gave, table by table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def merged(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """A table with the values of `given` over those of `defaults`.

    Tables are merged key by key, to any depth; everything else is replaced whole.

    Neither argument is changed, and the result shares no table or list with `defaults`.
    """
    result = {key: _copy(value) for key, value in defaults.items()}
    for key, value in given.items():
        before = result.get(key)
        both_tables = isinstance(before, Mapping) and isinstance(value, Mapping)
        result[key] = merged(before, value) if both_tables else _copy(value)  # type: ignore[arg-type]
    return result


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_copy(item) for item in value]
    return value
