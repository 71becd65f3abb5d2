"""A text of extra arguments as words: split as a shell would, but JSON outside of quotes keeps its own quotes. Pure."""

from __future__ import annotations

import re
import shlex
from typing import Annotated

from pydantic import AfterValidator

from serviceopt_journal.foreign_text import json_value

REFERENCE = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))", re.ASCII)
"""`$NAME` or `${NAME}`."""
REFERENCES = re.compile(rf"(?:{REFERENCE.pattern})+", re.ASCII)
"""A text that is nothing but references: `$NAME`, `$A$B`, `${A}${B}`."""
LONGEST_ARGUMENT = 131_072
"""Characters of one argument; the kernel takes no longer one (execve(2), MAX_ARG_STRLEN)."""
MOST_IN_VAIN = 100
"""So many brackets may begin no JSON; from there on none is looked for, as each is looked for to the end of the text."""
_JSON_TOKEN = re.compile(r"\\.|[\"{}\[\]]", re.DOTALL)


def _splittable(text: str) -> str:
    try:
        split(text)
    except ValueError as error:
        raise ValueError(f"cannot be split into arguments: {error}") from error
    return text


Words = Annotated[str, AfterValidator(_splittable)]
"""Extra arguments as a shell would split them. No shell ever sees them: no pipes, no globs, no `~`."""


def split(words: str) -> list[str]:
    """The arguments in a text, as a shell would split it; but JSON outside of quotes keeps its own quotes.

    `--compilation-config {"level":3}` is what people write where no shell reads it, and a shell would leave `{level:3}`.

    Raises:
        ValueError: a quotation is not closed.
    """
    return shlex.split(_json_quoted(words))


def unquoted_json(text: str) -> str:
    """A JSON object or list without the quotes that a shell would have taken from around it; any other text as it is."""
    inner = text.strip()
    if len(inner) > 1 and inner[0] == inner[-1] and inner[0] in "'\"" and inner[1:2] in ("{", "["):
        document = inner[1:-1].replace('\\"', '"') if inner[0] == '"' else inner[1:-1]
        return document if _is_json(document) else text
    return text


def _json_quoted(text: str) -> str:
    """The text with each JSON document that stands outside of quotes, up to the end of its word, put into quotes."""
    parts: list[str] = []
    at, quote, in_vain = 0, "", 0
    while at < len(text):
        character = text[at]
        end = at + 1
        if quote:
            escaped = quote == '"' and character == "\\"
            quote = "" if character == quote else quote
            end += escaped
        elif character in "\"'":
            quote = character
        elif text.startswith("\\\n", at):
            at = end + 1  # a shell's sign that the command goes on in the next line, as people copy it
            continue
        elif character == "\\":
            end += 1
        elif character in "{[" and in_vain < MOST_IN_VAIN:
            if length := _json_length(text[at : at + LONGEST_ARGUMENT]):
                parts.append(shlex.quote(text[at : at + length]))
                at += length
                continue
            in_vain += 1
        parts.append(text[at:end])
        at = end
    return "".join(parts)


def _json_length(text: str) -> int:
    """Characters of the JSON object or list that the text begins with and a blank or its end follows; 0: there is none.

    A `$NAME` in it may stand for a value that has yet to be put in.
    """
    depth, within = 0, False
    for token in _JSON_TOKEN.finditer(text):
        character = token[0]
        if character == '"':
            within = not within
        elif not within and character in "{[":
            depth += 1
        elif not within and character in "}]":
            depth -= 1
            if depth == 0:
                document, rest = text[: token.end()], text[token.end() :]
                return len(document) if (not rest or rest[0].isspace()) and _is_json(document) else 0
    return 0


def _is_json(document: str) -> bool:
    try:
        json_value(REFERENCE.sub("0", document))
    except ValueError:
        return False
    return True
