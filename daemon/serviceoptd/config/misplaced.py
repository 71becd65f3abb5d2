"""Where a key belongs that is not known where it stands: in another table, or among the program's own options."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any, get_origin

from pydantic import BaseModel

from .explain import alike, known_keys, shown
from .positions import Path, dotted
from .problems import ConfigProblem
from .schema import Document
from .sections import Namesakes
from .source import Source

UNKNOWN = "unknown key"
OPTIONS = "others"
MOST = 3
"""Tables that are named; a key that more of them know belongs to none in particular."""


def with_their_places(
    problems: list[ConfigProblem], source: Source, known: Mapping[str, Namesakes], chosen: Collection[str]
) -> list[ConfigProblem]:
    """Tells of a key that is known elsewhere, or is an option of the program, where it goes; all else stays as it is.

    `chosen`: the sections of engine and client. Of the others only those are thought of in which such a key stands.
    """
    paths = {dotted(path): path for path in source.positions.lines}
    return [
        _told(problem, paths[problem.key], source, known, chosen)
        if problem.message.startswith(UNKNOWN) and problem.key in paths
        else problem
        for problem in problems
    ]


def _told(
    problem: ConfigProblem, path: Path, source: Source, known: Mapping[str, Namesakes], chosen: Collection[str]
) -> ConfigProblem:
    *around, key = path
    value = _at(source.document, path)
    here = [str(step) for step in around if isinstance(step, str)]
    spelt_otherwise = f"did you mean `{alike(str(key))}`?" in problem.message
    thought_of = {name: known[name] for name in known if name in {*chosen, *here[:1]}}
    places = [] if spelt_otherwise else _places(str(key), value, thought_of)
    if own := [place for place in places if place[0] and here[:1] == [place[0][0]]]:
        places = own  # of several tables that know it the one in the same section is meant
    if 0 < len(places) <= MOST:
        message = UNKNOWN if around else f"{UNKNOWN} at the top level"
        allowed = " or ".join(_belongs(table, name, value) for table, name in places)
        return replace(problem, message=message, allowed=allowed)
    may_be_an_option = here[-1:] == ["command"] and OPTIONS in _keys(known, here) and not isinstance(value, dict | list)
    if may_be_an_option and "did you mean" not in problem.message:
        return replace(problem, allowed=f"an option of the program stands in `others`: {_as_option(key, value)}")
    return problem


def _places(key: str, value: Any, known: Mapping[str, Namesakes]) -> list[tuple[tuple[str, ...], str]]:
    """The tables that know a key of this name, however it is spelt, and its name there; the top level is ()."""
    wanted = alike(key)
    found = [
        (table, name)
        for table, model, name in (*_tables(Document, ()), *_of_sections(known))
        if alike(name) == wanted and (_is_table(model, name) or _holds_a_table(model, name)) == isinstance(value, dict)
    ]
    return list(dict.fromkeys(found))


def _of_sections(known: Mapping[str, Namesakes]) -> Iterator[tuple[tuple[str, ...], type[BaseModel], str]]:
    for section, namesakes in known.items():
        for role in namesakes.roles:
            plugin = namesakes.of(role)
            if plugin is not None:
                yield from _tables(plugin.section, (section,))


def _tables(model: type[BaseModel], at: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], type[BaseModel], str]]:
    for name in model.model_fields:
        yield at, model, name
        if _is_table(model, name):
            yield from _tables(model.model_fields[name].annotation, (*at, name))  # type: ignore[arg-type]


def _is_table(model: type[BaseModel], name: str) -> bool:
    annotation = model.model_fields[name].annotation
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _holds_a_table(model: type[BaseModel], name: str) -> bool:
    return get_origin(model.model_fields[name].annotation) in (dict, Mapping)


def _keys(known: Mapping[str, Namesakes], here: list[str]) -> list[str]:
    namesakes = known.get(here[0], Namesakes())
    plugins = [namesakes.of(role) for role in namesakes.roles]
    return [key for plugin in plugins if plugin for key in known_keys(plugin.section, tuple(here[1:]))]


def _belongs(table: tuple[str, ...], name: str, value: Any) -> str:
    if not table:
        return f"`{name}` is a top-level key: it must stand before the first [table] of the file"
    whole = ".".join([*table, name])
    return f"`{name}` belongs in [{'.'.join(table)}]" if not isinstance(value, dict) else f"write [{whole}]"


def _as_option(key: str | int, value: Any) -> str:
    flag = f"--{alike(str(key)).replace('_', '-')}"
    if value is True:
        return f"`{flag}`"
    return f"`{flag} {value if isinstance(value, str) else shown(value)}`"


def _at(document: Any, path: Path) -> Any:
    for step in path:
        try:
            document = document[step]
        except (KeyError, IndexError, TypeError):
            return None  # the command line's value stands in its place
    return document
