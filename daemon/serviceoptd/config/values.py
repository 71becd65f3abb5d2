"""Values with a form of their own: latency limits such as `"p99:1.5"`, log levels, names and positions of fields."""

from __future__ import annotations

import re
from functools import partial
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, PlainValidator
from pydantic_core import PydanticCustomError

from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.metric_table import E2EL, TPOT, TTFT, MetricName
from serviceoptd.domain.objective import parse_slo

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

_POSITION = re.compile(r"env|argument:--?[A-Za-z][\w.-]*|[A-Za-z_][\w-]*(\.[\w-]+)*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Limit(NamedTuple):
    """A latency limit as it was given. `statistic` None: a plain number, which is of the mean unless told otherwise."""

    statistic: str | None
    seconds: float


def statistic(text: str) -> str:
    """`mean`, `max` or a percentile such as `p99`; `average` and `median` are understood.

    Raises:
        PydanticCustomError: none of them.
    """
    word = text.strip().lower()
    try:
        return parse_slo(f"{'mean' if word == 'average' else word}:1", TTFT).statistic
    except InvalidConfiguration as error:
        allowed = "mean, max, median, or a percentile such as p99 or p99.9"
        raise wrong(f'"{text}" is not a statistic', allowed) from error


def wrong(message: str, allowed: str) -> PydanticCustomError:
    """A validator's error that tells what is allowed instead."""
    return PydanticCustomError("value", "{message}", {"message": message, "allowed": allowed})


def _limit(value: Any, metric: MetricName) -> Limit:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        value = str(value).lower()
    try:
        slo = parse_slo(value, metric)
    except InvalidConfiguration as error:
        raise wrong(error.message, error.hint.removeprefix("allowed: ")) from error
    return Limit(slo.statistic if isinstance(value, str) and ":" in value else None, slo.limit)


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


def _position(value: Any) -> Any:
    if isinstance(value, str) and not _POSITION.fullmatch(value):
        allowed = "env, argument:--flag, or a dotted path into the engine's JSON configuration"
        raise wrong(f'"{value}" is not a position', allowed)
    return value


def _name(value: Any) -> Any:
    if isinstance(value, str) and not _NAME.fullmatch(value):
        allowed = "letters, digits and _, not starting with a digit (it is an environment variable's name too)"
        raise wrong(f'"{value}" is not a name', allowed)
    return value


TtftLimit = Annotated[Limit, PlainValidator(partial(_limit, metric=TTFT))]
TpotLimit = Annotated[Limit, PlainValidator(partial(_limit, metric=TPOT))]
E2eLimit = Annotated[Limit, PlainValidator(partial(_limit, metric=E2EL))]
Upper = BeforeValidator(_upper)
FieldPosition = Annotated[str, BeforeValidator(_position)]
FieldName = Annotated[str, BeforeValidator(_name)]
