"""The options in an engine's own `--config FILE`: flat YAML, as vLLM and SGLang read it. The command line wins over it.

Only single values are read: nobody here asks for the lists and tables of such a file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from serviceoptd.toolkit import arguments, program
from serviceoptd.toolkit.interface import Workplace

CONFIG = "--config"
_LINE = re.compile(r"""(["']?)(?P<key>[A-Za-z][\w-]*)\1\s*:\s+(?P<value>.*?)\s*(?:(?<=\s)\#.*)?""")
_TRUE, _FALSE = ("true", "yes", "on"), ("false", "no", "off")
_NOTHING = ("", "null", "~")
_QUOTES = "\"'"


def options_of(text: str) -> list[str]:
    """The single values at the top of the file, as arguments: `tensor-parallel-size: 4`, `enforce-eager: true`."""
    words: list[str] = []
    for line in text.splitlines():
        found = _LINE.fullmatch(line.rstrip() + " ") if line[:1] not in (" ", "\t", "#", "-") else None
        if found is None:
            continue
        flag, value = f"--{found['key']}", found["value"]
        if value.lower() in _TRUE:
            words.append(flag)
        elif value.lower() in _FALSE:
            words.append(f"--no-{found['key']}")
        elif value not in _NOTHING and value[0] not in "[{|>&*!":
            words.append(f"{flag}={value[1:-1] if value[0] in _QUOTES and value[-1] == value[0] else value}")
    return words


def with_config_file(
    words: Sequence[str], aliases: Mapping[str, str] | None, workplace: Workplace, working_directory: str | None = None
) -> list[str]:
    """The arguments with those of the file that they name before them, so that of two values the last one counts.

    A file that cannot be read adds nothing: in a container it may be there all the same, and else the engine says so.
    """
    named = arguments.value_of(CONFIG, words, aliases)
    if named is None:
        return list(words)
    path = workplace.working_directory / (working_directory or "") / program.located(named, workplace)
    try:
        return [*options_of(path.read_text()), *words]
    except (OSError, UnicodeDecodeError):
        return list(words)
