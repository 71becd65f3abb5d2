"""The options in an engine's own `--config FILE`: YAML, as vLLM and SGLang read it. The command line wins over it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from serviceopt_journal import foreign_files
from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.foreign_files import LARGEST_CONFIGURATION, UnfitFile
from serviceoptd.toolkit import arguments, program, provenance
from serviceoptd.toolkit.interface import Problem, Workplace
from serviceoptd.toolkit.spellings import Spellings

CONFIG = "--config"
ENDINGS = (".yaml", ".yml")
"""How the name of such a file must end (`load_config_file` of vLLM, `ConfigArgumentMerger` of SGLang)."""
MOST_VALUES = 10_000


def options_of(text: str) -> list[str]:
    """The options as arguments: `tensor-parallel-size: 4`, `enforce-eager: true`; tables as JSON.

    Raises:
        ValueError: it is not a YAML table.
    """
    import yaml  # read by few configurations

    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        where = getattr(error, "problem_mark", None)
        raise ValueError(f"not YAML{f' (line {where.line + 1})' if where else ''}") from error
    if not isinstance(document, dict):
        raise ValueError("not a table of options")  # noqa: TRY004 - what a file holds is a value
    _refuse_explosion(document)
    return [word for key, value in document.items() for word in _words(f"--{key}", value)]


def _refuse_explosion(document: Any) -> None:
    """References in YAML make a few lines as large as one likes once they are written out, or without end."""
    waiting, values = [document], 0
    while waiting:
        value = waiting.pop()
        values += 1
        if values > MOST_VALUES:
            raise ValueError(f"more than {MOST_VALUES} values, each reference counted as what it stands for")
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list | tuple | set):
            waiting.extend(value)


def _words(flag: str, value: Any) -> list[str]:
    if value is None or value == []:
        return []
    if isinstance(value, bool):
        return [flag if value else f"--no-{flag.removeprefix('--')}"]
    if isinstance(value, list):
        return [flag, *map(str, value)]
    return [f"{flag}={json.dumps(value, default=str) if isinstance(value, dict) else value}"]


def config_file(
    words: Sequence[str], aliases: Mapping[str, str] | None, workplace: Workplace, working_directory: str | None = None
) -> Path | None:
    """The file that the arguments name with `--config`; None: there is none, or its name has yet to be put in."""
    named = arguments.value_of(CONFIG, words, aliases)
    if not named or arguments.referred(named):
        return None
    return workplace.working_directory / (working_directory or "") / program.located(named, workplace)


def with_config_file(
    words: Sequence[str], aliases: Mapping[str, str] | None, workplace: Workplace, working_directory: str | None = None
) -> list[str]:
    """The arguments with those of the file that they name before them, so that of two values the last one counts.

    A file that cannot be read adds nothing: in a container it may be there all the same. `unread` tells of it.

    Raises:
        InvalidConfiguration: the file is here and the engine cannot read it, or an abbreviation in it is not unique.
    """
    path = config_file(words, aliases, workplace, working_directory)
    text = None if path is None else _text(path)
    if path is None or text is None:
        return list(words)
    try:
        found = options_of(text)
    except ValueError as error:
        raise InvalidConfiguration(
            f"{CONFIG} {path}: {error}, so the engine does not start",
            hint="write one option on each line, such as `max-model-len: 8192`",
        ) from error
    if path.suffix not in ENDINGS:
        raise InvalidConfiguration(
            f"{CONFIG} {path}: the engine reads no file of that ending", hint=f"rename it to {path.stem}{ENDINGS[0]}"
        )
    for flag in (word.partition("=")[0] for word in found if arguments.flag_of(word)):
        _refuse_ambiguous(flag, aliases, path)
    return [*found, *words]


def unread(
    words: Sequence[str],
    aliases: Mapping[str, str] | None,
    workplace: Workplace,
    *,
    working_directory: str | None,
    key: str,
) -> tuple[Problem, ...]:
    """A remark where the file that these arguments name cannot be read here. `key`: where the arguments are written."""
    path = config_file(words, aliases, workplace, working_directory)
    if path is None or _text(path) is not None:
        return ()
    why = "cannot be read" if path.exists() else "does not exist"
    hint = (
        "correct the path; if the file is inside a container, give options that change devices or lengths in `others`"
    )
    return (Problem(key, f"{CONFIG} {path} {why} here: the options in it are not seen", hint),)


def content(
    words: Sequence[str], aliases: Mapping[str, str] | None, workplace: Workplace, working_directory: str | None = None
) -> dict[str, str]:
    """What the measurement identity says of the file; nothing where there is none."""
    path = config_file(words, aliases, workplace, working_directory)
    return {} if path is None else {"config_file": provenance.data_digest(path)}


def _text(path: Path) -> str | None:
    try:
        return foreign_files.content(path, LARGEST_CONFIGURATION, through_links=True).decode()
    except (OSError, UnfitFile, UnicodeDecodeError):
        return None


def _refuse_ambiguous(flag: str, aliases: Mapping[str, str] | None, path: Path) -> None:
    if not isinstance(aliases, Spellings):
        return
    try:
        aliases.refuse_ambiguous(flag)
    except InvalidConfiguration as refused:
        raise InvalidConfiguration(f"{CONFIG} {path}: {refused.message}", hint=refused.hint) from refused
