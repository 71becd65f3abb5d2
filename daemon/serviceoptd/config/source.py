"""A configuration as it was written: the parsed document, and where each of its keys stands."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serviceoptd.toolkit.toml_document import BeyondLimits, document_of

from .merge import merged
from .positions import Path, Positions, dotted, positions
from .problems import ConfigProblem, ConfigurationErrors

COMMAND_LINE = "command line"
ENVIRONMENT = "environment"

_TOML_PLACE = re.compile(
    r"(?P<what>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)", re.DOTALL
)


@dataclass(frozen=True)
class Source:
    """The document with the command line's values over it, and the text that it was read from."""

    file: str
    text: str
    document: dict[str, Any]
    positions: Positions
    overridden: frozenset[str] = frozenset()  # top-level keys that the command line gave

    def problem(self, path: Path, message: str, allowed: str = "") -> ConfigProblem:
        """A problem at the key, or at the nearest table around it that is written in the file."""
        if path and path[0] in self.overridden:
            return ConfigProblem(COMMAND_LINE, 0, dotted(path), message, allowed)
        return ConfigProblem(self.file, self.positions.line(path), dotted(path), message, allowed)


def parse(text: str, file: str, overrides: Mapping[str, Any]) -> Source:
    """Reads a text as TOML, and keeps the place of every key.

    Raises:
        ConfigurationErrors: it is not TOML, or beyond the limits; one problem with its place.
    """
    try:
        document, where = document_of(text), positions(text)
    except BeyondLimits as error:
        raise ConfigurationErrors([ConfigProblem(file, error.line, "", f"not read: {error}")]) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationErrors([_syntax(str(error), text, file)]) from error
    return Source(file, text, merged(document, overrides), where, frozenset(overrides))


def _syntax(message: str, text: str, file: str) -> ConfigProblem:
    match = _TOML_PLACE.fullmatch(message)
    what = match["what"] if match else message
    last_line = text.count("\n") + (0 if text.endswith("\n") else 1)
    line = int(match["line"]) if match and match["line"] else last_line
    column = int(match["column"]) if match and match["column"] else len(text.splitlines()[-1]) + 1 if text else 1
    if not match or not match["line"]:
        what += " at the end of the file"
    return ConfigProblem(file, line, "", f"not valid TOML: {what[:1].lower()}{what[1:]}", column=column)
