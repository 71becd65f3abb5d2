"""Values that look like secrets are replaced by `***` before they reach an event, a log or a screen.

What counts is the name: `api_key`, `HF_TOKEN`, `--api-key`, `Authorization: ...`. Numbers named after tokens
(`max_num_batched_tokens`) are counts, not secrets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

MASK = "***"

_SECRET_PARTS = (
    "secret", "password", "passwd", "passphrase", "apikey", "accesskey", "privatekey", "credential", "authorization",
)  # fmt: skip
_NUMBER = re.compile(r"\s*[+-]?[0-9][0-9_]*(\.[0-9]+)?\s*")
_FIELD = re.compile(r"\$(?:\w+|\{\w*)")  # a text is cut before the brace
_KEYWORDS = (
    *("token", "secret", "password", "passwd", "passphrase", "credential", "authorization"),
    *(f"{kind}{gap}key" for kind in ("api", "access", "private") for gap in ("", "-", "_")),
)
_ENDS_AS_A_SECRET = "(?:" + "|".join(f"(?<={keyword})|(?<={keyword}s)" for keyword in _KEYWORDS) + ")"
# Every word is read once and never given back (`++`): tried from each of its letters, a long one would take its square.
_WORD = rf"[\w-]++){_ENDS_AS_A_SECRET}"
_FLAGS_GAP = r"""["']?[\s,]+"""  # a blank separates a flag from its value only: "the token expired" tells no secret
_NAMED_IN_TEXT = re.compile(
    rf"""(?P<before>(?<![\w-])(?:--(?P<flag>{_WORD}{_FLAGS_GAP}|(?P<name>{_WORD}["']?\s*[=:]\s*"""
    rf"""|(?>(?:(?!--)[\w-])+)--(?P<inner>{_WORD}{_FLAGS_GAP})["']?(?:(?:bearer|basic)\s+)?)"""
    r"""(?P<value>(?!-)[^\s"',}\]&]+)""",
    re.IGNORECASE,
)
_URL_PASSWORD = re.compile(r"(?P<before>(?<!\w)\w++://[^\s/:@\"']++:)[^\s/@\"']++(?=@)")


def is_secret(name: str) -> bool:
    """Whether a key, variable or flag of this name holds a secret."""
    return _letters(name).endswith(("token", "tokens")) or _is_certain(name)


def mask(name: str, value: Any) -> Any:
    """The value, or `***` where the name says that it is a secret; also inside texts, lists and tables."""
    if isinstance(value, Mapping):
        return {key: mask(name if _is_certain(name) else str(key), inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        if is_secret(name):
            return [mask(name, inner) for inner in value]
        return list(mask_argv(value)) if all(isinstance(item, str) for item in value) else [mask("", v) for v in value]
    if is_secret(name) and not _is_count(name, value) and value not in ("", None):
        return MASK
    return mask_text(value) if isinstance(value, str) else value


def mask_argv(argv: Sequence[str]) -> tuple[str, ...]:
    """A command line whose secrets are masked: `--api-key X`, `--api-key=X`, `--hf-token X`."""
    masked: list[str] = []
    flag = ""
    for argument in argv:
        masked.append(mask(flag, argument) if flag and not argument.startswith("-") else mask_text(argument))
        flag = argument if argument.startswith("-") and "=" not in argument else ""
    return tuple(masked)


def mask_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Environment variables whose secrets are masked."""
    return {name: mask(name, value) for name, value in environment.items()}


def mask_text(text: str) -> str:
    """A line of text (extra arguments, a log line) whose secrets are masked."""

    def replaced(match: re.Match[str]) -> str:
        name = match["name"] or match["flag"] or match["inner"]
        return match.group() if _is_count(name, match["value"]) else match["before"] + MASK

    return _URL_PASSWORD.sub(lambda match: match["before"] + MASK, _NAMED_IN_TEXT.sub(replaced, text))


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _is_certain(name: str) -> bool:
    return any(part in _letters(name) for part in _SECRET_PARTS)


def _is_count(name: str, value: Any) -> bool:
    is_number = isinstance(value, int | float) or (isinstance(value, str) and bool(_NUMBER.fullmatch(value)))
    is_number |= isinstance(value, str) and bool(_FIELD.fullmatch(value))  # of a target field, which is searched
    return is_number and not _is_certain(name)
