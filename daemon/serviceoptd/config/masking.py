"""A configuration's text with its secrets masked, as it goes into events. What counts as a secret: `toolkit/secrets.py`."""

from __future__ import annotations

import tomllib
from typing import Any

from serviceoptd.toolkit.secrets import mask, mask_text
from serviceoptd.toolkit.toml_document import BeyondLimits, document_of

from .positions import Path, positions


def masked_text(toml_text: str) -> str:
    """A configuration as it was written, comments and all, with its secrets masked. Still the TOML that it was."""
    try:
        document, where = document_of(toml_text), positions(toml_text)
    except (BeyondLimits, tomllib.TOMLDecodeError):
        return mask_text(toml_text)
    edits = [(start, end, mask_text(toml_text[start:end])) for start, end in where.comments]
    masked = mask("", document)
    for path, span in where.values.items():
        before, after = _at(document, path), _at(masked, path)
        if isinstance(before, str | int | float) and before is not after and before != after:
            edits.append((span.start, span.end, _toml_string(str(after))))
    parts, at = [], 0
    for start, end, replacement in sorted(edits):
        parts += [toml_text[at:start], replacement]
        at = end
    return "".join((*parts, toml_text[at:]))


def _at(document: Any, path: Path) -> Any:
    for step in path:
        document = document[step]
    return document


def _toml_string(text: str) -> str:
    escaped = "".join(
        f"\\u{ord(character):04x}" if ord(character) < 32 or ord(character) == 127 else character
        for character in text.replace("\\", "\\\\").replace('"', '\\"')
    )
    return f'"{escaped}"'
