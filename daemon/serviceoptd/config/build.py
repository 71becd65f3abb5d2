"""Builds the settings of a run from a validated document and its two sections."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from serviceopt_journal.metric_table import GOODPUT, LIMITS, TPOT, TTFT, MetricName
from serviceoptd.domain.settings import (
    Budget,
    Constraint,
    DeviceFacts,
    EarlyStopping,
    LogPatterns,
    Measuring,
    Objective,
    Proving,
    RunSettings,
    Search,
    Slo,
    SoftFormula,
    TimeLimits,
    default_rules,
)

from .fields import PlacedField
from .problems import ConfigProblem
from .schema import Device, Document, ErrorPatterns
from .sections import PerformanceConfig, Section
from .source import Source
from .values import Limit

LATER = ("service", "use_request_rate_calibration")
"""Top-level keys that are accepted and kept, and take effect in a later release."""

OBSOLETE = ("slo_coefficient", "step_size", "max_fine_tune")
"""Top-level keys of a fine-tuning that is not needed any more: the search itself finds the load."""

GUIDANCE = ("theory_guided_enable", "scaling_coefficient", "mem_coefficient")
"""For the engine's survey of the machine (`engines/interface.py`), which narrows the search space."""


def settings(
    document: Document, given: Mapping[str, Any], engine: Section, benchmark: Section, fields: Sequence[PlacedField]
) -> RunSettings:
    """The frozen settings of a run. `given` is the document as it was written: it tells a default from a value."""
    limits = TimeLimits(
        launch=_first(document.launch_timeout, document.wait_start_time, 3600.0),
        measurement=_first(document.measurement_timeout, document.particles_time_out, 3600.0),
        stop=document.stop_timeout,
        device_memory=document.device_memory_timeout,
        http=document.http_timeout,
        stall=document.stall_timeout,
    )
    return RunSettings(
        engine=engine.name,
        benchmark=benchmark.name,
        fields=tuple(placed.field for placed in fields),
        objective=_objective(document, benchmark.performance),
        search=_search(document),
        budget=_budget(document),
        limits=limits,
        measuring=Measuring(
            repeats=document.measurement.repeats,
            warm_up_requests=document.measurement.warm_up_requests,
            attempts=document.measurement.attempts,
            hold_after=document.measurement.hold_after,
            sample_size=document.sample_size,
            log_snippet_length=document.health_check.log_snippet_length,
        ),
        proof=_proof(document),
        early_stopping=EarlyStopping(**document.early_stopping.model_dump()),
        store_profile=document.profile.store,
        device_facts=_device(document.device),
        service_errors=_patterns(document.health_check.service_errors),
        benchmark_errors=_patterns(document.health_check.benchmark_errors),
        engine_options=engine.options,
        benchmark_options=benchmark.options,
        manage_lifecycle=engine.managed,
        path_prefix=document.deploy.path_prefix,
        backup=document.backup,
        backup_limit=round(document.data_storage.backup_limit_gb * 1e9),
        store_dir=document.data_storage.store_dir,
        log_level=document.log_level,
        notes=notes(document, given),
    )


def _search(document: Document) -> Search:
    return Search(
        strategy=document.search.strategy,
        n_particles=document.n_particles,
        iters=document.iters,
        coefficients=document.search.coefficients,
        options=document.search.options,
        reuse_measurements=document.search.reuse_measurements,
        warm_start=document.search.warm_start,
        loads_per_launch=document.search.loads_per_launch,
        rules=_rules(document),
        constraints=tuple(Constraint(**each.model_dump()) for each in document.search.constraint),
        audit_share=document.search.audit_share,
    )


def _budget(document: Document) -> Budget:
    return Budget(
        evaluations=document.budget or document.n_particles * document.iters,
        max_hours=document.max_hours,
        target=document.target,
    )


def _proof(document: Document) -> Proving:
    return Proving(
        finalists=document.data_storage.pso_top_k,
        measurements=document.proof.measurements,
        confidence=document.proof.confidence,
    )


def _rules(document: Document) -> tuple[str, ...]:
    chosen = document.search.rules
    return default_rules(document.search.strategy) if chosen is None else tuple(chosen)


def _device(given: Device) -> DeviceFacts:
    # GiB, since an upper bound of the memory is wanted whatever the user's GB are
    return DeviceFacts(
        memory=given.memory_gb * 2**30 if given.memory_gb else None,
        bandwidth=given.bandwidth_gb_s * 1e9 if given.bandwidth_gb_s else None,
        flops=given.tflops * 1e12 if given.tflops else None,
    )


def notes(document: Document, given: Mapping[str, Any]) -> dict[str, Any]:
    """Keys that were given and whose part comes later, or that engines look at, with their values."""
    return {key: getattr(document, key) for key in (*LATER, *OBSOLETE, *GUIDANCE) if key in given}


def without_effect(noted: Mapping[str, Any]) -> list[str]:
    """The noted keys that would do something if their part were there already."""
    # `service` is not ignored: a slave is refused (submitting/cross_checks.py)
    return [key for key in noted if key not in (*GUIDANCE, "service")]


def contradictions(document: Document, source: Source) -> list[ConfigProblem]:
    """Values that are each legal and do not go together."""
    problems: list[ConfigProblem] = []
    softened: dict[MetricName, tuple[float | None, Limit | None]] = {
        TTFT: (document.ttft_penalty, document.ttft_slo),
        TPOT: (document.tpot_penalty, document.tpot_slo),
    }
    for metric, (penalty, slo) in softened.items():
        if penalty and slo is None:
            message = f"{penalty:g} needs {LIMITS[metric].key}, which is not set"
            problems.append(
                source.problem((f"{metric}_penalty",), message, f"give {LIMITS[metric].key} in seconds, or 0 here")
            )
    if document.objective == GOODPUT and not _slos(document, PerformanceConfig()):
        message = f"{GOODPUT} counts the requests within the latency limits, but no limit is set"
        *first, last = (limit.key for limit in LIMITS.values())
        problems.append(source.problem(("objective",), message, f"give {', '.join(first)} or {last}"))
    for ours, theirs in (("launch_timeout", "wait_start_time"), ("measurement_timeout", "particles_time_out")):
        if getattr(document, ours) is not None and getattr(document, theirs) is not None:
            problems.append(
                source.problem((theirs,), f"is the predecessor's name of {ours}, which is given too", "one of the two")
            )
    return problems


def follows(contradiction: ConfigProblem, told: Collection[str]) -> bool:
    """Whether a contradiction may be no more than what follows from a key that cannot be read, and is `told` already."""
    return bool(set(re.findall(r"\w+", str(contradiction))) & set(told))


def _objective(document: Document, performance: PerformanceConfig) -> Objective:
    soft = None
    if document.formula == "soft":
        soft = SoftFormula(
            ttft_penalty=_weight(document.ttft_penalty, document.ttft_slo),
            tpot_penalty=_weight(document.tpot_penalty, document.tpot_slo),
            success_rate_penalty=document.success_rate_penalty,
            generate_speed_target=document.generate_speed_target,
        )
    return Objective(
        maximise=document.objective,
        slos=_slos(document, performance),
        success_rate=_first(document.success_rate_slo, None, 1.0 if soft else 0.99),
        per_device=document.per_device,
        soft=soft,
    )


def _slos(document: Document, performance: PerformanceConfig) -> tuple[Slo, ...]:
    usual = {
        TTFT: performance.time_to_first_token.statistic,
        TPOT: performance.time_per_output_token.statistic,
    }
    return tuple(
        slo
        for metric, limit in LIMITS.items()
        for slo in _slo(
            metric,
            getattr(document, limit.key),
            getattr(document, f"{metric}_penalty", None),
            usual.get(metric, "mean"),
        )
    )


def _slo(metric: MetricName, limit: Limit | None, penalty: float | None, usual: str) -> tuple[Slo, ...]:
    """A penalty of 0 is the predecessor's way to say that there is no limit; where none is given the limit holds."""
    if limit is None or penalty == 0:
        return ()
    return (Slo(metric=metric, statistic=limit.statistic or usual, limit=limit.seconds),)


def _weight(penalty: float | None, limit: Limit | None) -> float:
    if penalty is not None:
        return float(penalty)
    return 1.0 if limit else 0.0  # the manual's advice, where only the limit is given


def _patterns(errors: ErrorPatterns) -> LogPatterns:
    return LogPatterns(
        fatal={kind: tuple(texts) for kind, texts in errors.fatal_patterns.items()},
        retryable={kind: tuple(texts) for kind, texts in errors.retryable_patterns.items()},
    )


def _first(ours: float | None, theirs: float | None, usual: float) -> float:
    return ours if ours is not None else theirs if theirs is not None else usual
