"""Argument lists: the user's extra words, `$NAME`, flags of target fields, and flags that are given twice. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.events import Configuration, Value
from serviceoptd.domain.settings import Field
from serviceoptd.toolkit.interface import Refusals, render
from serviceoptd.toolkit.spellings import Spellings
from serviceoptd.toolkit.words import REFERENCE, REFERENCES, Words, split, unquoted_json

__all__ = [
    "ARGUMENT",
    "Words",
    "field_arguments",
    "field_environment",
    "filled",
    "flag_of",
    "hides_flags",
    "options",
    "references",
    "referred",
    "refuse_doubled",
    "refuse_unknown",
    "rendered_flag",
    "replaced",
    "runs_a_shell",
    "split",
    "value_of",
    "with_capitals",
    "without",
]

ARGUMENT = "argument:"
_NOTHING = "\0"  # no argument can hold it, so it marks an empty value while it is being substituted
_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "ash", "fish", "ssh", "su"})
_SYSTEMS = frozenset({"PATH", "HOME", "USER", "SHELL", "LANG", "PWD", "TMPDIR"})
"""Variables that no field in small letters may take the place of."""
_SWITCHES = ("--enable-", "--disable-", "--no-", "--enforce-", "--trust-", "--ignore-", "--skip-")
"""How flags begin that take no value."""
_KEY_ENDS = re.compile(r'"\s*:')
_FOR_A_SHELL = re.compile(r"\$\{\w+[^\w}][^}]*\}|(?:(?<=^)|(?<==))\$\([^)]+\)|(?:(?<=^)|(?<==))`[^`]+`")
"""`${NAME:-4}`, `$(command)` and the like."""
_NUMBER = re.compile(r"-\d*\.?\d+([eE][-+]?\d+)?")


def with_capitals(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values under their names, and under these names in capitals where no other value has that name."""
    return {**{name.upper(): value for name, value in values.items()}, **values}


def replaced(text: str, values: Mapping[str, object]) -> str:
    """The text with `$NAME` and `${NAME}` replaced, names read as a shell reads them; of unknown names it is left.

    A name in capitals also refers to the value whose name has small letters, as in the predecessor.
    """

    known = with_capitals(values)

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        return render(known[name]) if name in known else match[0]

    return REFERENCE.sub(value, text)


def filled(words: Iterable[str], values: Mapping[str, object]) -> list[str]:
    """The arguments with `$NAME` and `${NAME}` replaced.

    An argument that is nothing but references to empty values (`$NAME`, or `--flag=$NAME`) is dropped, and so is the
    flag before a dropped `$NAME`: an enum's empty string means that the argument is not given. An argument that is
    nothing but a reference to a flag with its value (`--block-size 32`) becomes the arguments that this text holds; of
    several (`$A$B`) each further flag begins another one, and any other text is joined to what stands before it.

    Raises:
        InvalidConfiguration: a quotation in such a text is not closed.
    """
    marked = {name: value if render(value) else _NOTHING for name, value in with_capitals(values).items()}
    kept: list[str] = []
    for word in words:
        text = replaced(word, marked)
        if text and not text.strip(_NOTHING):
            if kept and kept[-1].startswith("-") and "=" not in kept[-1]:
                kept.pop()
        elif REFERENCES.fullmatch(word) and flag_of(text.strip(f"{_NOTHING} ")):
            kept += _flags_in(word, marked)
        elif not re.fullmatch(rf"-[^=]*={_NOTHING}+", text):
            text = text.replace(_NOTHING, "")
            flag, sign, value = text.partition("=") if flag_of(word) else ("", "", text)
            kept.append(flag + sign + unquoted_json(value) if referred(word) else text)
    return kept


def _flags_in(word: str, marked: Mapping[str, object]) -> list[str]:
    """The arguments of a word that is nothing but references, the first of them to a flag."""
    texts: dict[str, str] = {}  # what begins with a flag, by the references that it comes from
    for reference in (match[0] for match in REFERENCE.finditer(word)):
        text = replaced(reference, marked).strip(_NOTHING)
        if texts and not flag_of(text.strip()):
            before, begun = texts.popitem()
            texts[before + reference] = begun + text
        else:
            texts[reference] = text
    found = []
    for reference, text in texts.items():
        try:
            found += split(text)
        except ValueError as error:
            raise InvalidConfiguration(
                f"{reference}: its value {text!r} cannot be split into arguments: {error}",
                hint="close the quotation in that value",
            ) from error
    return found


def refuse_unknown(words: Iterable[str], values: Iterable[str], place: str) -> None:
    """Each `$NAME` in the arguments must have a value. A name in quotes before a colon is a key of JSON: `{"$ref": 1}`.

    Args:
        words: the arguments before anything is replaced.
        values: the names that will be replaced.
        place: where the arguments stand, for the message.

    Raises:
        InvalidConfiguration: nothing would replace some of them, and the program would get them as they stand.
    """
    known, refusals = with_capitals(dict.fromkeys(values)), Refusals()
    for word in words:
        if shells := _FOR_A_SHELL.search(word):
            only = "only a shell would replace it, and no shell reads this"
            hint = "write the value itself, or `$NAME` of a target field"
            refusals.add(InvalidConfiguration(f"{shells[0]} in {place}: {only}", hint=hint))
        for match in REFERENCE.finditer(word):
            name = match[1] or match[2]
            is_key = word[: match.start()].endswith('"') and _KEY_ENDS.match(word, match.end())
            if name in known or is_key:
                continue
            folded = {each.lower(): each for each in known}  # $max_num_seqs is near MAX_NUM_SEQS
            near = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.7)
            meant = f"${folded[near[0]]} is the nearest; " if near else ""
            hint = f"{meant}`$NAME` stands for the target field of that name; no shell and no environment is consulted"
            refusals.add(InvalidConfiguration(f"{match[0]} in {place}: nothing replaces it", hint=hint))
    refusals.tell()


def runs_a_shell(argv: Iterable[str]) -> bool:
    """Whether a shell, here or on another machine, is among the arguments: it replaces `$NAME` itself."""
    return any(word.rpartition("/")[2] in _SHELLS for word in argv)


def referred(text: str) -> list[str]:
    """The names in a text that `$NAME` and `${NAME}` refer to, in their order."""
    return list(dict.fromkeys(match[1] or match[2] for match in REFERENCE.finditer(text)))


def references(words: Iterable[str], names: Iterable[str]) -> list[str]:
    """Which of these names the arguments still refer to by `$NAME`, in the order of the arguments."""
    wanted = frozenset(names)
    found = (match[1] or match[2] for word in words for match in REFERENCE.finditer(word))
    return [name for name in dict.fromkeys(found) if name in wanted]


def hides_flags(words: Sequence[str]) -> bool:
    """Whether a `$NAME` among them can stand for flags, so that the flags are not known before its value is."""
    before = ("", *words)
    return any(
        REFERENCES.fullmatch(word) is not None and ("=" in last or not flag_of(last) or last.startswith(_SWITCHES))
        for last, word in zip(before, words, strict=False)
    )


def flag_of(word: str, aliases: Mapping[str, str] | None = None) -> str | None:
    """The flag that an argument gives, in one spelling: `--no-x`, `--x=1` and `--x_y` are `--x`, `--x` and `--x-y`."""
    if not word.startswith("-") or word in ("-", "--") or _NUMBER.fullmatch(word):
        return None
    flag = word.partition("=")[0]
    flag = (aliases or {}).get(flag, flag)
    if flag.startswith("--"):
        flag = "--" + flag.removeprefix("--").replace("_", "-").removeprefix("no-")
    return flag


def value_of(flag: str, words: Sequence[str], aliases: Mapping[str, str] | None = None) -> str | None:
    """The value that the last occurrence of this flag has in the arguments; None: it is absent or has none."""
    found = None
    for index, word in enumerate(words):
        if flag_of(word, aliases) == flag:
            _, sign, value = word.partition("=")
            following = words[index + 1] if index + 1 < len(words) else "--the-end"
            found = value if sign else None if flag_of(following) else following
    return found


def options(words: Sequence[str], aliases: Mapping[str, str] | None = None) -> dict[str, str]:
    """Every flag with its value: `--tensor-parallel-size 2` as `tensor_parallel_size` -> "2", of several the last.

    A flag without a value is "true", its `--no-` form "false".
    """
    found: dict[str, str] = {}
    for word in words:
        if flag := flag_of(word, aliases):
            bare = "false" if word.startswith("--no-") else "true"
            found[flag.lstrip("-").replace("-", "_")] = value_of(flag, words, aliases) or bare
    return found


def without(flags: Iterable[str], words: Sequence[str], aliases: Mapping[str, str] | None = None) -> list[str]:
    """The arguments without these flags and the values that follow them."""
    dropped = frozenset(flags)
    kept: list[str] = []
    dropping = False
    for word in words:
        flag = flag_of(word, aliases)
        dropping = flag in dropped if flag else dropping
        if not dropping:
            kept.append(word)
    return kept


def field_arguments(fields: Iterable[Field], configuration: Configuration, *, load: bool) -> list[str]:
    """The flags of the `argument:` fields that tune the client's load, or of those that tune the service."""
    given: list[str] = []
    for field in fields:
        if field.load == load and field.config_position.startswith(ARGUMENT) and field.name in configuration:
            given += rendered_flag(field.config_position.removeprefix(ARGUMENT), configuration[field.name])
    return given


def rendered_flag(flag: str, value: Value) -> list[str]:
    """A flag with its value: `--x 1`; true and false as `--x` and `--no-x`; nothing for an empty string.

    A value that repeats the flag is the whole argument, and JSON may stand in a shell's quotes.
    """
    if isinstance(value, bool):
        if value:
            return [flag]
        bare = flag.removeprefix("--")
        return [f"--{bare.removeprefix('no-')}" if bare.startswith("no-") else f"--no-{bare}"]
    text = unquoted_json(render(value))
    if not text:
        return []
    if flag_of(text.split()[0] if text.strip() else "") == flag_of(flag):
        return split(text)
    # a value that starts with a dash would be read as the next flag
    return [f"{flag}={text}"] if text.startswith("-") else [flag, text]


def field_environment(fields: Iterable[Field], configuration: Configuration, *, load: bool) -> dict[str, str]:
    """Variables that `env` fields export: the service's, and with `load` those of the client's load too.

    Under the field's name and, as the predecessor did, under that name in capitals.
    """
    exported = {
        field.name: render(configuration[field.name])
        for field in fields
        if field.config_position == "env" and (load or not field.load) and field.name in configuration
    }
    return {name: value for name, value in with_capitals(exported).items() if name in exported or name not in _SYSTEMS}


def refuse_doubled(parts: Mapping[str, Sequence[str]], aliases: Mapping[str, str] | None = None) -> None:
    """Each flag may come from one part only; `parts` maps where arguments come from to the arguments.

    `--config.level` sets a part of `--config`, so it may not be given beside it, but beside `--config.mode`.

    Raises:
        InvalidConfiguration: flags come from two of them, each with its line; which value counts would depend on the
            program. Or one is abbreviated so that it could stand for several, where `aliases` are `Spellings`.
    """
    sources: dict[str, str] = {}
    doubled: dict[str, str] = {}
    refusals = Refusals()
    for source, words in parts.items():
        given = {flag: word.partition("=")[0] for word in words if (flag := flag_of(word, aliases))}
        for flag, word in given.items():
            if isinstance(aliases, Spellings):
                with refusals.collected():
                    aliases.refuse_ambiguous(word)
            if other := next((known for known in sources if _overlap(flag, known)), None):
                written = "" if word == flag else f" (as {word})"
                doubled[other] = f"{other} is given twice: by {sources[other]} and by {source}{written}"
        sources |= dict.fromkeys(given, source)
    if doubled:
        hint = f"keep one of the two {' and of the two '.join(doubled)}"
        refusals.add(InvalidConfiguration("\n".join(doubled.values()), hint=hint))
    refusals.tell()


def _overlap(flag: str, other: str) -> bool:
    return flag == other or flag.startswith(f"{other}.") or other.startswith(f"{flag}.")
