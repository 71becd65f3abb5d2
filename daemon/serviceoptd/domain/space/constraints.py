"""Rules of experience between parameters: comparisons with their source. Pure, and usable by the search as well.

Parameters have one spelling here: small letters and `_`. A field is known under its own name, under the flag of an
`argument:` position, and under the last word of a dotted one; so `MAX_NUM_SEQS`, `--max-num-seqs` and `max_num_seqs` are
one parameter.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from serviceopt_journal.events import Configuration, Value
from serviceoptd.domain.settings import Constraint, Field, RunSettings

COMPARISONS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}

_SCHEDULER = "vLLM refuses it when it starts (check of its SchedulerConfig)"
_MINDIE = "MindIE's manual, table of ScheduleConfig (`serviceoptctl docs mindie`)"
BUILT_IN: Mapping[str, tuple[Constraint, ...]] = {
    "vllm": (
        Constraint(left="max_num_batched_tokens", op=">=", right="max_num_seqs", source=_SCHEDULER),
        Constraint(
            left="max_num_batched_tokens",
            op=">=",
            right="max_model_len",
            when={"enable_chunked_prefill": False},
            source=_SCHEDULER,
        ),
    ),
    "mindie": (Constraint(left="maxPrefillTokens", op=">=", right="maxInputTokenLen", source=_MINDIE),),
}
"""What each engine is known to refuse. What MindIE's engine repairs by itself is not repeated."""


def spelling(name: str) -> str:
    """The one spelling of a parameter's name."""
    return name.strip().lstrip("-").casefold().replace("-", "_")


def names_of(field: Field) -> tuple[str, ...]:
    """Every name of a field's parameter."""
    return _names(field.name, field.config_position)


@lru_cache(maxsize=1024)  # rules ask for the same few with every configuration that was measured
def _names(name: str, position: str) -> tuple[str, ...]:
    told = [] if position == "env" else [spelling(position.removeprefix("argument:").rpartition(".")[2])]
    return tuple(dict.fromkeys((spelling(name), *told)))


def parameters(
    configuration: Configuration, fields: Iterable[Field], fixed: Mapping[str, str] | None = None
) -> dict[str, Value]:
    """Name -> value of everything that is known of a service: fixed options, and over them what is searched.

    A fixed option such as `$TP` has the value of that field.
    """
    known: dict[str, Value] = {}
    for name, text in (fixed or {}).items():
        referred = text.removeprefix("$").strip("{}") if text.startswith("$") else None
        known[name] = _value(text) if referred is None else configuration.get(referred, text)
    for field in fields:
        if field.name in configuration:
            known |= dict.fromkeys(names_of(field), configuration[field.name])
    return known


def number(value: Value | None) -> float | None:
    """The finite number that a parameter has; None: it has none."""
    if value is None or isinstance(value, bool | str):
        return None
    return float(value) if math.isfinite(value) else None


def constraints_of(settings: RunSettings) -> tuple[Constraint, ...]:
    """The engine's own and the configured ones."""
    return (*BUILT_IN.get(settings.engine, ()), *settings.search.constraints)


def violated(constraints: Sequence[Constraint], known: Mapping[str, Value]) -> Constraint | None:
    """The first constraint that the parameters break; one that compares what is not known is not broken."""
    return next((each for each in constraints if _counts(each, known) and not _holds(each, known)), None)


def sides(constraint: Constraint, known: Mapping[str, Value]) -> tuple[float, float] | None:
    """The two numbers that are compared, the factor applied; None: one of them is not known."""
    left = number(known.get(spelling(constraint.left)))
    right = constraint.right
    other = number(known.get(spelling(right)) if isinstance(right, str) else right)
    return None if left is None or other is None else (left, constraint.factor * other)


def _holds(constraint: Constraint, known: Mapping[str, Value]) -> bool:
    compared = sides(constraint, known)
    return compared is None or bool(COMPARISONS[constraint.op](*compared))


def _counts(constraint: Constraint, known: Mapping[str, Value]) -> bool:
    when = all(known.get(spelling(name)) == value for name, value in constraint.when.items())
    return when and not any(known.get(spelling(name)) == value for name, value in constraint.unless.items())


def _value(text: str) -> Value:
    """An option as it was written, as the number or the truth value that it is."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
