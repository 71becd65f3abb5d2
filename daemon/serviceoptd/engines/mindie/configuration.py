"""A JSON configuration file as its user wrote it: values found and replaced at dotted positions. Pure.

Only the text of a replaced value changes; indentation, order, line ends and the spelling of every other number stay.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.events import Value
from serviceopt_journal.foreign_text import json_value
from serviceoptd.toolkit.interface import render

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()
_MARK = "\ufeff"  # some editors begin a file with it

Span = tuple[int, int]


@dataclass(frozen=True)
class JsonText:
    """The text of a JSON object, and where it came from (for messages)."""

    text: str
    source: str

    @classmethod
    def of(cls, content: bytes, source: str) -> JsonText:
        """Reads a configuration from the bytes of a file.

        Raises:
            InvalidConfiguration: they are not a JSON object in UTF-8.
        """
        try:
            text = content.decode()
            document = json_value(text.removeprefix(_MARK))
        except ValueError as error:
            raise InvalidConfiguration(f"{source} is not JSON: {error}", hint="correct the file") from error
        if not isinstance(document, dict):
            raise InvalidConfiguration(f"{source} holds no JSON object", hint="correct the file")
        return cls(text, source)

    @property
    def document(self) -> dict[str, Any]:
        """The configuration as Python values."""
        document: dict[str, Any] = json_value(self.text.removeprefix(_MARK))
        return document

    def encoded(self) -> bytes:
        """The bytes for the file; of an untouched text those that it was read from."""
        return self.text.encode()

    def value(self, position: str) -> Any:
        """What stands at a dotted position, integers indexing lists.

        Raises:
            InvalidConfiguration: there is no such position; names the nearest one that there is.
        """
        start, end = self._span(position)
        return json_value(self.text[start:end])

    def get(self, position: str, default: Any = None) -> Any:
        """The value at a position, and `default` where there is no such position."""
        try:
            return self.value(position)
        except InvalidConfiguration:
            return default

    @staticmethod
    def shown(value: Any) -> str:
        """A value as JSON writes it."""
        return json.dumps(value, ensure_ascii=False)

    def replaced(self, values: Mapping[str, Value]) -> JsonText:
        """The text with these values at these positions, each in the JSON type that stands there.

        Raises:
            InvalidConfiguration: a position is missing, holds a list or an object, or a value is not of its type; or
                one position holds another.
        """
        changes = sorted((self._span(position), position, value) for position, value in values.items())
        text = self.text
        for (start, end), position, value in reversed(changes):
            text = text[:start] + _written(value, json_value(self.text[start:end]), position) + text[end:]
        return JsonText(text, self.source)

    def _span(self, position: str) -> Span:
        found: Span | None = None
        known: list[str] = []
        start = len(self.text) - len(self.text.removeprefix(_MARK))
        start = _after_space(self.text, start)
        for step in position.split("."):
            members = dict(_members(self.text, start))
            found = members.get(step)
            if found is None:
                raise _missing(position, ".".join(known), list(members), self.source)
            known.append(step)
            start = found[0]
        assert found is not None  # noqa: S101 - a position has at least one step
        return found


def leaves(value: Any, position: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that is neither a list nor an object (empty ones are values), with its dotted position."""
    inner: Mapping[str, Any] | None = None
    if isinstance(value, dict):
        inner = value
    elif isinstance(value, list):
        inner = {str(index): item for index, item in enumerate(value)}
    if not inner:
        yield position, value
        return
    for step, item in inner.items():
        yield from leaves(item, f"{position}.{step}" if position else step)


def _members(text: str, start: int) -> Iterator[tuple[str, Span]]:
    """Keys of the object, or indices of the list, that begins at `start`, with where their values stand."""
    if text[start] not in "{[":
        return
    keyed, index = text[start] == "{", 0
    place = _after_space(text, start + 1)
    while text[place] not in "}]":
        step = str(index)
        if keyed:
            step, place = _DECODER.raw_decode(text, place)
            place = _after_space(text, _after_space(text, place) + 1)  # the colon
        _, end = _DECODER.raw_decode(text, place)
        yield step, (place, end)  # of a key that is there twice the last one counts, as for every JSON reader
        place = _after_space(text, end)
        place = _after_space(text, place + 1) if text[place] == "," else place
        index += 1


def _after_space(text: str, start: int) -> int:
    match = _SPACE.match(text, start)
    return match.end() if match else start


def _missing(position: str, nearest: str, there: list[str], source: str) -> InvalidConfiguration:
    where = f"`{nearest}` is there and" if nearest else "its top level"
    shown = ", ".join(there[:12]) + (", ..." if len(there) > 12 else "")
    holds = f"holds {shown}" if there else "holds a value, and nothing below it"
    return InvalidConfiguration(
        f"{source} has no `{position}`: {where} {holds}",
        hint="correct config_position, or add the key to the file with the value that counts now",
    )


def _written(value: Value, present: Any, position: str) -> str:
    """The JSON for `value` where `present` stands now."""
    if isinstance(present, dict | list):
        raise InvalidConfiguration(f"`{position}` holds a list or an object, not a value that can be searched")
    converted = _converted(value, present)
    if converted is None:
        kind = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[type(present)]
        raise InvalidConfiguration(
            f"`{position}` is {json.dumps(present)} in the file, {kind}: {render(value)} would not be",
            hint="correct the field's dtype, min, max or step",
        )
    return json.dumps(converted, ensure_ascii=False)


def _converted(value: Value, present: Any) -> Value | None:
    """The value in the type of what is there; None: it has none in that type."""
    if present is None:
        return value
    if isinstance(present, str):
        return render(value)
    if isinstance(value, str):
        return None
    if isinstance(present, bool):
        return bool(value) if value in (0, 1) else None
    if isinstance(present, int):
        return int(value) if not isinstance(value, bool) and float(value).is_integer() else None
    return None if isinstance(value, bool) else float(value)
