"""Pydantic's errors in words: what is wrong with which key, and what is allowed there."""

from __future__ import annotations

import difflib
import json
import re
import types
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from serviceoptd.toolkit.secrets import mask

from .positions import Path

Finding = tuple[Path, str, str]  # where, what is wrong, what is allowed

_KINDS = {
    "int": "an integer",
    "float": "a number",
    "str": "a string",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list",
    "dict": "a table",
}


def findings(error: ValidationError, model: type[BaseModel], data: Mapping[str, Any]) -> list[Finding]:
    """Each wrong value once, also where pydantic lists one error for every member of a union."""
    found: dict[Path, list[tuple[str, str]]] = {}
    for detail in error.errors(include_url=False):
        path = _path_in(data, detail)
        found.setdefault(path, []).append(_explained(detail, path, model))
    result: list[Finding] = []
    for path, texts in found.items():
        allowed = " or ".join(dict.fromkeys(text for _, text in texts if text))
        result.append((path, texts[0][0], allowed))
    return result


def did_you_mean(word: object, known: Collection[str]) -> str:
    """`, did you mean ...?` where a known word is close, else nothing. Letters' case and dashes do not count."""
    spelt = {alike(each): each for each in known}
    close = difflib.get_close_matches(alike(str(word)), list(spelt), n=1, cutoff=0.6)
    return f", did you mean `{spelt[close[0]]}`?" if close else ""


def alike(word: str) -> str:
    """A name as our keys are spelt: `maxNumSeqs`, `MAX-NUM-SEQS` and `Max_Num_Seqs` are `max_num_seqs`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", word).lower().replace("-", "_")


def unknown_key(key: str, known: Collection[str]) -> tuple[str, str]:
    """What is wrong and what is allowed where a key is not known."""
    allowed = "" if len(known) > 12 else "known here: " + ", ".join(sorted(known))
    return f"unknown key{did_you_mean(key, known)}", allowed or "`serviceoptctl docs configuration` lists every key"


def shown(value: object) -> str:
    """A value as TOML writes it, cut to a readable length."""
    if isinstance(value, bool):
        return str(value).lower()
    text = json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, str | list | dict) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _path_in(document: Mapping[str, Any], detail: ErrorDetails) -> Path:
    """The error's place in the data. Names of union members, which pydantic mixes in, are left out."""
    data: Any = document
    path: Path = ()
    steps = detail["loc"]
    for number, step in enumerate(steps, start=1):
        inside = (isinstance(data, Mapping) and step in data) or (
            isinstance(data, list) and isinstance(step, int) and 0 <= step < len(data)
        )
        if inside:
            data, path = data[step], (*path, step)
        elif number == len(steps) and detail["type"] in ("missing", "extra_forbidden"):
            path = (*path, step)
    return path


def _explained(detail: ErrorDetails, path: Path, model: type[BaseModel]) -> tuple[str, str]:
    kind, given, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return unknown_key(str(path[-1]), known_keys(model, path[:-1]))
    allowed = str(context.get("allowed", "")) or allowed_at(model, path)
    value = shown(mask(str(path[-1]) if path else "", given))
    if kind == "missing":
        return "is missing", f"expected {allowed}" if allowed else ""
    if kind == "literal_error":
        options = tuple(str(option) for annotation in _annotations(model, path) for option in _options(annotation))
        return f"{value} is not known{did_you_mean(given, options)}", allowed
    if "than" in kind or kind == "finite_number":
        return f"{value} is out of range", allowed
    if kind in ("string_too_short", "too_short"):
        return "is empty", allowed
    if kind.endswith(("_type", "_parsing", "_from_float", "_attributes_type")):
        wanted = allowed.split(" from ")[0].split(" above ")[0].split(" of at")[0].split(", such as ")[0]
        return f"{value} is not {wanted}" if allowed else detail["msg"], f"expected {allowed}" if allowed else ""
    return detail["msg"].removeprefix("Value error, "), str(context.get("allowed", ""))


def known_keys(model: type[BaseModel], path: Path) -> list[str]:
    """The keys of the table at `path`."""
    names: list[str] = []
    for annotation in _annotations(model, path):
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            names += annotation.model_fields
    return names


def allowed_at(model: type[BaseModel], path: Path) -> str:
    """What may stand at `path`: `an integer from 1 to 1000`, `one of master, slave`. Empty where nothing is known."""
    texts = [_described(annotation) for annotation in _annotations(model, path)]
    return " or ".join(dict.fromkeys(text for text in texts if text))


def _annotations(model: type[BaseModel], path: Path) -> list[Any]:
    places: list[Any] = [model]
    for step in path:
        places = [inner for place in places for inner in _inside(place, step)]
    return [member for place in places for member in _members(place)]


def _inside(place: Any, step: str | int) -> Iterator[Any]:
    for member in _members(place):
        bare = get_args(member)[0] if get_origin(member) is Annotated else member
        if isinstance(bare, type) and issubclass(bare, BaseModel):
            if field := bare.model_fields.get(str(step)):
                yield Annotated[field.annotation, field] if field.metadata else field.annotation
        elif get_origin(bare) in (list, tuple):
            yield get_args(bare)[0]
        elif get_origin(bare) in (dict, Mapping):
            yield get_args(bare)[1]


def _members(annotation: Any) -> Iterator[Any]:
    metadata: tuple[Any, ...] = ()
    if get_origin(annotation) is Annotated:
        annotation, *rest = get_args(annotation)
        metadata = tuple(rest)
    if get_origin(annotation) in (Union, types.UnionType):
        for member in get_args(annotation):
            if member is not type(None):
                yield Annotated[member, *metadata] if metadata else member
    else:
        yield Annotated[annotation, *metadata] if metadata else annotation


def _options(annotation: Any) -> tuple[Any, ...]:
    bare = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    return get_args(bare) if get_origin(bare) is Literal else ()


def _described(annotation: Any) -> str:
    bare, *metadata = get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)
    if options := _options(bare):
        return "one of " + ", ".join(str(option) for option in options)
    if isinstance(bare, type) and issubclass(bare, BaseModel):
        example = getattr(bare, "example", "")
        return f"a table, such as {example}" if example else "a table"
    name = getattr(get_origin(bare) or bare, "__name__", "")
    return _KINDS.get(name, "") + _range(metadata) if name in _KINDS else ""


def _range(metadata: list[Any]) -> str:
    constraints = [
        constraint for item in metadata for constraint in (item.metadata if isinstance(item, FieldInfo) else [item])
    ]
    limits = {key: getattr(c, key) for c in constraints for key in ("ge", "gt", "le", "lt") if hasattr(c, key)}
    low, high = limits.get("ge", limits.get("gt")), limits.get("le", limits.get("lt"))
    up_to = f"{'up to' if 'le' in limits else 'below'} {high}"
    if low is None:
        return f" {up_to}" if high is not None else ""
    if high is None:
        return f" of at least {low}" if "ge" in limits else f" above {low}"
    return (
        f" from {low} to {high}"
        if {"ge", "le"} <= limits.keys()
        else (f" above {low} and {up_to}" if "gt" in limits else f" of at least {low} and {up_to}")
    )
