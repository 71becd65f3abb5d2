"""Finds the limits of a scheduler among the parameters, whatever the place that they are configured in. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, Literal

import msgspec

from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.events import Configuration
from serviceopt_journal.foreign_text import whole_number
from serviceoptd.domain.settings import Field
from serviceoptd.simulation.schedulers.mindie import MindieLimits, MindieScheduler
from serviceoptd.simulation.schedulers.vllm import VllmScheduler
from serviceoptd.simulation.schedulers.vllm_limits import VllmLimits
from serviceoptd.simulation.virtual_clock.interface import Request, Scheduler

SchedulerName = Literal["vllm", "mindie"]
Limits = VllmLimits | MindieLimits
Composer = Callable[[Limits, Sequence[Request]], Scheduler]
"""What makes a scheduler with these limits, for these requests."""

KINDS: dict[SchedulerName, type[Limits]] = {"vllm": VllmLimits, "mindie": MindieLimits}
KV_BLOCKS: dict[SchedulerName, str] = {"vllm": "kv_blocks", "mindie": "npu_blocks"}
BLOCK_SIZE: dict[SchedulerName, str] = {"vllm": "block_size", "mindie": "cache_block_size"}


WHERE: dict[str, str] = {
    "kv_blocks": "`num_gpu_blocks` in the service's log, or of `vllm:cache_config_info` on its /metrics",
    "max_model_len": "--max-model-len, else `max_position_embeddings` in the model's config.json",
    "max_num_seqs": "--max-num-seqs",
    "max_num_batched_tokens": "--max-num-batched-tokens",
    "npu_blocks": "`totalNpuBlockNums` of a running service's /v1/status, or the least `npuBlockNum` in its Python log",
    "max_batch_size": "maxBatchSize of ScheduleConfig in MindIE's config.json",
    "max_prefill_batch_size": "maxPrefillBatchSize of ScheduleConfig in MindIE's config.json",
    "max_prefill_tokens": "maxPrefillTokens of ScheduleConfig in MindIE's config.json",
    "max_seq_len": "maxSeqLen of ModelDeployConfig in MindIE's config.json",
}
"""Where each limit that has no default is found."""


class MissingLimits(InvalidConfiguration):
    """The scheduler cannot be simulated: something that has no default is told nowhere."""


def names_of(scheduler: SchedulerName) -> list[str]:
    """What this scheduler can be told."""
    return [field.name for field in fields(KINDS[scheduler])]


def searched(configuration: Configuration, targets: Iterable[Field]) -> dict[str, Any]:
    """The parameters of a configuration, by the names that limits have.

    `MAX_NUM_SEQS`, a field of any name at `argument:--max-num-seqs`, and one at `...ScheduleConfig.maxBatchSize` are
    `max_num_seqs` and `max_batch_size`. An empty text stands for a parameter that is not given.
    """
    places = {target.name: target.config_position for target in targets}
    found: dict[str, Any] = {}
    for name, value in configuration.items():
        if value != "":
            found[name.lower()] = found[_at(places.get(name, ""))] = value
    return found


def of_configuration(
    scheduler: SchedulerName, told: Mapping[str, Any], configuration: Configuration, targets: Sequence[Field]
) -> dict[str, Any]:
    """What is `told` of every configuration of a run, and over it the parameters of this one.

    A `$NAME` among what is told has the value of that field. KV blocks are told of one size, else of the current
    setting's: where this configuration has blocks of another size, there are as many as hold the same tokens.
    """
    given = _with_parameters(told, configuration, targets)
    blocks, size = KV_BLOCKS[scheduler], BLOCK_SIZE[scheduler]
    if blocks not in told or given[blocks] != told[blocks]:
        return given
    usual = getattr(KINDS[scheduler], size)
    current = {target.name: target.value for target in targets if target.value is not None}
    told_of = told if _reference(told.get(size)) is None else {}
    there = whole_number(str({size: usual, **_with_parameters(told, current, targets), **told_of}[size]))
    here, number = whole_number(str(given.get(size, usual))), whole_number(str(told[blocks]))
    if here and there and number and here != there:
        given[blocks] = number * there // here
    return given


def _with_parameters(told: Mapping[str, Any], configuration: Configuration, targets: Iterable[Field]) -> dict[str, Any]:
    values = {**{name.upper(): value for name, value in configuration.items()}, **configuration}
    given = {name: value for name, value in told.items() if _reference(value) is None}
    named = {name: values[field] for name, value in told.items() if (field := _reference(value) or "") in values}
    return {
        **given,
        **{name: value for name, value in named.items() if value != ""},
        **searched(configuration, targets),
    }


def _reference(value: Any) -> str | None:
    """The field's name in `$NAME` or `${NAME}`; None of everything else."""
    match = re.fullmatch(r"\$(?:\{(\w+)\}|(\w+))", value) if isinstance(value, str) else None
    return (match[1] or match[2]) if match else None


def limits(scheduler: SchedulerName, given: Mapping[str, Any]) -> Limits:
    """The scheduler's limits; what else is given has no effect.

    Raises:
        MissingLimits: one that has no default is not given.
        InvalidConfiguration: the engine itself would not start with them.
    """
    kind = KINDS[scheduler]
    if missing := [field.name for field in fields(kind) if field.default is MISSING and field.name not in given]:
        raise MissingLimits(
            f"the simulated scheduler of {scheduler} does not know {', '.join(missing)}",
            hint="make each a target field, or give it in [simulated.limits]: "
            + "; ".join(f"{name} is {WHERE[name]}" for name in missing if name in WHERE),
        )
    try:
        return msgspec.convert(dict(given), kind, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidConfiguration(
            f"the simulated scheduler of {scheduler} cannot take its limits: {error}",
            hint="look at the target fields and at [simulated.limits]",
        ) from error


def scheduler_of(limits: Limits, requests: Sequence[Request]) -> Scheduler:
    """A scheduler with these limits, for these requests."""
    return VllmScheduler(requests, limits) if isinstance(limits, VllmLimits) else MindieScheduler(requests, limits)


def _at(position: str) -> str:
    """The name that a place in the engine's own configuration stands for."""
    last = position.removeprefix("argument:--").rpartition(".")[2]
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", last).lower().replace("-", "_")
