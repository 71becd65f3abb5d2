"""The rule `latency_bound`: what no service can do faster, by the roofline of its accelerators.

* Every request's TPOT, TTFT and end-to-end latency: a token comes out of one step of the engine, and each step reads the
  weights (of a mixture of experts those of the experts of one token) from the devices' memory: bytes / (devices that share
  out a layer x bandwidth).
* Mean TTFT and end-to-end latency, where the prompts' length has been measured and no prefix is cached: 2 operations for
  each parameter and prompt token / (devices x peak).

S. Williams, A. Waterman, D. Patterson, *Roofline: An Insightful Visual Performance Model for Multicore Architectures*,
Communications of the ACM 52(4), 2009; C. Chen, *Transformer Inference Arithmetic*, 2022 (kipp.ly), on both formulas; vLLM's
documentation, "Optimization and Tuning", on what tensor parallelism and chunked prefill do to either.
"""

from __future__ import annotations

from itertools import product
from typing import ClassVar, Final

from serviceopt_journal.events import Configuration
from serviceopt_journal.metric_table import TPOT, TTFT
from serviceopt_journal.metrics import NOT_TOLD, Metrics
from serviceoptd.domain.load import load_of
from serviceoptd.domain.settings import Field, Slo
from serviceoptd.domain.space.constraints import names_of, number
from serviceoptd.rules.deployment import DATA, PIPELINE, TENSOR, Deployment
from serviceoptd.rules.interface import Facts, Kind, Rejection

LATENCIES: Final = (TTFT, TPOT)
ON_CHIP = 256 * 1024**2
"""Bytes: no listed device keeps more than this in its last-level cache, so at most that much is not read again."""

ABOVE_THE_DATA_SHEET = 1.1
"""Clocks go up to this many times those of which the data sheets' peak operations are told."""


class LatencyBound:
    """Says nothing where model or devices are not known, or where no configuration of the space keeps the bound."""

    name: ClassVar[str] = "latency_bound"
    kind: ClassVar[Kind] = "theory"

    def judge(self, configuration: Configuration, facts: Facts) -> Rejection | None:
        """Against it where a latency objective is below what the devices can do."""
        missed = _missed(configuration, facts, facts.settings.objective.slos)
        # where nothing could keep the objective the run is to find what comes closest, and not nothing
        if missed is None or all(_missed(best, facts, (missed,)) for best in _most_parallel(configuration, facts)):
            return None
        deployment, least = Deployment.of(configuration, facts), bound(configuration, facts, missed)
        return Rejection(
            f"{missed.statistic} {missed.metric.upper()} is at least {least * 1000:.3g} ms on {deployment.devices} x "
            f"{facts.settings.device_facts.name or 'this device'}, the limit is {missed.limit * 1000:.3g} ms",
            _predicted(configuration, facts),
        )


def bound(configuration: Configuration, facts: Facts, slo: Slo) -> float:
    """Seconds that this statistic cannot be below; 0 where nothing is known of it."""
    deployment, devices = Deployment.of(configuration, facts), facts.settings.device_facts
    model, least = deployment.model, 0.0
    if slo.metric == TPOT and deployment.speculates:
        return 0.0
    if model.read_each_step is not None and devices.bandwidth:
        # one stage of a pipeline after the other reads its part
        read = model.read_each_step / deployment.layer_devices - ON_CHIP * deployment.stages
        least = max(0.0, read / devices.bandwidth)
    prompt = facts.mean_prompt
    of_the_mean = slo.metric != TPOT and slo.statistic in ("mean", "max")
    if of_the_mean and prompt and model.flops_each_token is not None and devices.flops:
        peak = deployment.devices * devices.flops * ABOVE_THE_DATA_SHEET
        least = max(least, 0.0 if _caches_prefixes(deployment) else model.flops_each_token * prompt / peak)
    return least


def _missed(configuration: Configuration, facts: Facts, slos: tuple[Slo, ...]) -> Slo | None:
    return next((slo for slo in slos if bound(configuration, facts, slo) > slo.limit), None)


def _most_parallel(configuration: Configuration, facts: Facts) -> list[Configuration]:
    """The configuration with every choice of its degrees of parallelism at the ends of what the space has."""
    choices: dict[str, list[float]] = {}
    for field in facts.space.fields:
        if set(names_of(field)) & set(TENSOR + PIPELINE + DATA):
            choices[field.name] = _ends(field)
    return [{**configuration, **dict(zip(choices, values, strict=True))} for values in product(*choices.values())]


def _ends(field: Field) -> list[float]:
    options = field.dtype_param if isinstance(field.dtype_param, list | tuple) else [field.min, field.max]
    numbers = [value for option in options if (value := number(option)) is not None]
    return [min(numbers), max(numbers)] if numbers else [1.0]


def _caches_prefixes(deployment: Deployment) -> bool:
    """A cached prefix is not computed again; engines cache by default."""
    known = deployment.known
    return known.get("enable_prefix_caching") is not False and known.get("disable_radix_cache") is not True


def _predicted(configuration: Configuration, facts: Facts) -> Metrics | None:
    """The best that it could give at its concurrency; None where that is not limited."""
    concurrency, _ = load_of(configuration)
    ttft, tpot = (bound(configuration, facts, Slo(metric=metric, limit=1.0)) for metric in LATENCIES)
    if not concurrency or not tpot:
        return None
    return Metrics(
        generate_speed=concurrency / tpot,
        throughput=NOT_TOLD,
        success_rate=1.0,
        completed=0,
        failed=0,
        duration=0.0,
        ttft={"mean": ttft},
        tpot={"mean": tpot},
    )
