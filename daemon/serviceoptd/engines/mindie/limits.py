"""How MindIE's scheduling parameters limit each other. Pure.

Source: the table of ScheduleConfig in MindIE's manual, "Configuration Parameters (Service-Specific)", and the checks
that the server itself makes when it reads config.json (docs/mindie.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from serviceopt_journal.events import Configuration
from serviceopt_journal.foreign_text import whole_number
from serviceoptd.domain.settings import Field
from serviceoptd.engines.mindie.section import DEPLOYMENT, MODEL, SCHEDULE

BATCH = f"{SCHEDULE}.maxBatchSize"
PREFILL_BATCH = f"{SCHEDULE}.maxPrefillBatchSize"
PREEMPTED = f"{SCHEDULE}.maxPreemptCount"
SELECTS = f"{SCHEDULE}.supportSelectBatch"
ONLY_WHERE_IT_SELECTS = (f"{SCHEDULE}.prefillTimeMsPerReq", f"{SCHEDULE}.decodeTimeMsPerReq")


def repaired(configuration: Configuration, fields: Sequence[Field]) -> Configuration:
    """The configuration that MindIE accepts, with parameters that have no effect all at one value.

    * `maxPrefillBatchSize` from 1 to `maxBatchSize` (a small ratio of a small batch would round to 0);
    * `maxPreemptCount` at most `maxBatchSize`;
    * `prefillTimeMsPerReq` and `decodeTimeMsPerReq` are 0 (or their min) where `supportSelectBatch` is off: they only
      count where it is on, and settings that differ in them alone would be measured for nothing. Fixed ones are left.
    """
    at = {field.config_position: field for field in fields if field.name in configuration}
    values = dict(configuration)
    batch = _number(values, at.get(BATCH))
    prefill, preempted = _number(values, at.get(PREFILL_BATCH)), _number(values, at.get(PREEMPTED))
    if prefill is not None:
        values[at[PREFILL_BATCH].name] = max(1, prefill if batch is None else min(prefill, batch))
    if preempted is not None and batch is not None:
        values[at[PREEMPTED].name] = min(preempted, batch)
    if SELECTS in at and not values[at[SELECTS].name]:
        for position in ONLY_WHERE_IT_SELECTS:
            if position in at and (field := at[position]).dtype in ("int", "range", "float") and not _is_fixed(field):
                values[field.name] = int(field.min) if float(field.min).is_integer() else field.min
    return values


def contradictions(document: Mapping[str, Any]) -> Iterator[str]:
    """What the server would refuse about the whole file, or what would never run.

    Such as a searched value that does not go with one that is not searched. Values of another type are passed over.
    """
    batch, prefill, preempted = (_at(document, position) for position in (BATCH, PREFILL_BATCH, PREEMPTED))
    if _both(prefill, batch) and prefill > batch:
        yield f"maxPrefillBatchSize ({prefill}) must not be above maxBatchSize ({batch})"
    if _both(preempted, batch) and preempted > batch:
        yield f"maxPreemptCount ({preempted}) must not be above maxBatchSize ({batch})"
    if preempted and _at(document, f"{MODEL}.cpuMemSize") == 0:
        yield f"maxPreemptCount ({preempted}) needs a cpuMemSize above 0, to which requests are swapped"
    tokens, longest = _at(document, f"{SCHEDULE}.maxPrefillTokens"), _at(document, f"{DEPLOYMENT}.maxInputTokenLen")
    if _both(tokens, longest) and tokens < longest:
        yield f"maxPrefillTokens ({tokens}) must not be below maxInputTokenLen ({longest})"


def _at(document: Mapping[str, Any], position: str) -> Any:
    value: Any = document
    for step in position.split("."):
        number = whole_number(step)
        if isinstance(value, list) and number is not None and number < len(value):
            value = value[number]
        elif isinstance(value, dict):
            value = value.get(step)
        else:
            return None
    return value


def _both(one: Any, other: Any) -> bool:
    return all(isinstance(value, int) and not isinstance(value, bool) for value in (one, other))


def _number(values: Mapping[str, object], field: Field | None) -> int | None:
    value = values.get(field.name) if field is not None else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _is_fixed(field: Field) -> bool:
    return field.constant is not None or field.min == field.max
