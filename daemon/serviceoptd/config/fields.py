"""Target fields: from the tables of a configuration to the domain's `Field`s, in a legal `Space`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from serviceoptd.domain.settings import LOAD_NAMES, Dtype, Field
from serviceoptd.domain.space.space import InvalidSpace, Space
from serviceoptd.domain.space.space_reading import NOT_THERE, SpaceProblem

from .explain import findings
from .positions import Path
from .problems import ConfigProblem
from .schema import Table
from .source import Source
from .values import FieldName, FieldPosition

CANONICAL = {"MAXCONCURRENCY": "CONCURRENCY"}


class TargetField(Table):
    """One table `[[<section>.target_field]]` of a configuration."""

    name: FieldName
    config_position: FieldPosition = "env"
    min: float = 0
    max: float = 0
    dtype: Dtype
    dtype_param: Any = None
    value: int | float | bool | str | None = None
    constant: int | float | bool | str | None = None


@dataclass(frozen=True)
class PlacedField:
    """A field and where it is written; `given`: by the user, and not by a default.

    With `wrong` keys it stands in for one that cannot be read as it is: these keys have harmless values here, so that
    everything else that is wrong is told in the same pass.
    """

    field: Field
    path: Path
    given: bool
    wrong: frozenset[str] = frozenset()


def placed_fields(
    source: Source, path: Path, tables: Any, *, given: bool, load_only: bool
) -> tuple[list[PlacedField], list[ConfigProblem]]:
    """The fields of one `target_field` list. `load_only`: they are a client's, so none needs the service restarted."""
    if not isinstance(tables, list):
        return [], [source.problem(path, "is not a list of tables", f"write [[{path[0]}.target_field]]")]
    placed: list[PlacedField] = []
    problems: list[ConfigProblem] = []
    for index, table in enumerate(tables):
        here = (*path, index)
        if not isinstance(table, dict):
            problems.append(source.problem(here, "is not a table", f"write [[{path[0]}.target_field]]"))
            continue
        try:
            placed.append(PlacedField(_domain_field(TargetField.model_validate(table), load_only), here, given))
        except ValidationError as error:
            found = findings(error, TargetField, table)
            problems += [source.problem((*here, *p), what, allowed) for p, what, allowed in found]
            placed.append(_stand_in(table, frozenset(str(p[0]) for p, _, _ in found if p), here, given))
    return placed, problems


def _stand_in(table: dict[str, Any], wrong: frozenset[str], here: Path, given: bool) -> PlacedField:
    harmless = {"name": f"_{here[0]}_{here[-1]}", "dtype": "float"}
    kept = {key: value for key, value in table.items() if key in TargetField.model_fields and key not in wrong}
    if "dtype" in wrong:  # what the other keys must be depends on it, but for the bounds
        kept = {key: value for key, value in kept.items() if key not in ("dtype_param", "value", "constant")}
    if not {"min", "max"} <= set(kept):  # one of them alone says nothing
        wrong |= {"min", "max"}
    return PlacedField(_domain_field(TargetField.model_validate(harmless | kept), False), here, given, wrong)


def combined(engine: Sequence[PlacedField], client: Sequence[PlacedField]) -> list[PlacedField]:
    """The fields of a pair, the engine's first. Of a default and a given field with one name the given one counts."""
    fields = list(engine)
    for placed in client:
        index = next((i for i, other in enumerate(fields) if other.field.name == placed.field.name), None)
        if index is None or (placed.given and fields[index].given):
            fields.append(placed)  # given twice: the space says so
        elif placed.given:
            fields[index] = placed
    return fields


def space_problems(source: Source, placed: Sequence[PlacedField]) -> list[ConfigProblem]:
    """What keeps these fields from being a space: unknown targets, min above max, names given twice..."""
    try:
        Space.of(tuple(item.field for item in placed))
    except InvalidSpace as error:
        problems: list[ConfigProblem] = []
        for found in error.problems:
            if _may_follow(found, placed):
                continue
            paths = [item.path for item in placed if item.field.name == found.field_name] or [()]
            path = paths[0] if found.index is None else placed[found.index].path
            named = not any(item.field.name == found.field_name and "name" in item.wrong for item in placed)
            which = f" (field {found.field_name})" if named else ""
            problems.append(source.problem((*path, found.key) if found.key else path, f"{found.message}{which}"))
        return problems
    return []


def _may_follow(problem: SpaceProblem, placed: Sequence[PlacedField]) -> bool:
    """Whether a problem may be no more than what follows from a key that is wrong, and is told already."""
    stand_ins = [item for item in placed if item.wrong]
    own = {key for item in stand_ins if item.field.name == problem.field_name for key in item.wrong}
    if own:
        return problem.key not in ("min", "max") or bool(own & {"min", "max"})
    nameless = any("name" in item.wrong for item in stand_ins)  # so it may be the one that is not found
    words = set(re.findall(r"\w+", problem.message))
    return (nameless and problem.message.endswith(NOT_THERE)) or any(item.field.name in words for item in stand_ins)


def _domain_field(table: TargetField, load_only: bool) -> Field:
    name = CANONICAL.get(table.name, table.name)
    return Field(
        name=name,
        config_position=table.config_position,
        dtype=table.dtype,
        min=float(table.min),
        max=float(table.max),
        dtype_param=_canonical(table.dtype_param),
        value=table.value,
        constant=table.constant,
        load=load_only or name in LOAD_NAMES,
    )


def _canonical(parameter: Any) -> Any:
    """Names of other fields in a parameter, under the names that these have here."""
    if isinstance(parameter, str):
        return CANONICAL.get(parameter, parameter)
    if isinstance(parameter, dict) and "target_name" in parameter:
        return {**parameter, "target_name": _canonical(parameter["target_name"])}
    if isinstance(parameter, dict) and isinstance(parameter.get("target_names"), list):
        return {**parameter, "target_names": [_canonical(name) for name in parameter["target_names"]]}
    return parameter
