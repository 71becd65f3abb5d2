"""A measurement as data: what is asked for, how it is announced, and the events that its outcome makes. No effects."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from serviceopt_journal.events import Event, MeasurementFailed, MeasurementFinished, MeasurementStarted, ServiceFailed
from serviceopt_journal.metrics import Metrics
from serviceoptd.benchmarks.interface import Benchmark, MeasurementOrder, MeasurementPlan
from serviceoptd.domain.failures import KILLED, cause_of
from serviceoptd.domain.load import load_of
from serviceoptd.domain.policy import Measure
from serviceoptd.domain.state import RunState
from serviceoptd.evaluating.live_service import LiveService
from serviceoptd.evaluating.observing import Observer
from serviceoptd.toolkit.interface import Workplace
from serviceoptd.toolkit.secrets import mask_argv

SEEDS_PER_ATTEMPT = 1000

Kind = Literal["fatal", "retryable", "exited", "timeout", "unusable", "service"]


@dataclass(frozen=True)
class MeasurementUnderWay:
    """A measurement that has been announced. Lives in memory only: after a crash it is repeated."""

    run: RunState  # as it was when the measurement fell due
    service: LiveService
    benchmark: Benchmark
    order: MeasurementOrder
    plan: MeasurementPlan
    started: MeasurementStarted
    observer: Observer | None  # None: nobody looks at the service's own metrics meanwhile

    @property
    def output(self) -> Path:
        """Where the client's standard output and error go."""
        return client_log(self.order.workplace)


@dataclass(frozen=True)
class Failure:
    """Why a measurement does not count. `service`: the service is to blame, in these words."""

    kind: Kind
    reason: str
    exit_status: int | None = None
    metrics: Metrics | None = None
    service: Literal["fatal", "retryable", "exited"] | None = None
    cause: str = ""  # the kind of failure (domain/failures.py), where the service is to blame or the client tells it


@dataclass(frozen=True)
class Spent:
    """What a measurement took and what it left, whatever came of it."""

    seconds: float  # from the announcement's commit to the client's end
    artefacts: dict[str, str]  # name -> SHA-256


def client_log(workplace: Workplace) -> Path:
    """The file of a client's standard output and error."""
    return workplace.directory / "client.log"


def order_of(run: RunState, action: Measure, workplace: Workplace) -> MeasurementOrder:
    """What the client is asked to measure."""
    particle = run.particles[action.particle]
    concurrency, request_rate = load_of(particle.configuration)
    return MeasurementOrder(
        configuration=particle.configuration,
        fields=run.settings.fields,
        concurrency=concurrency,
        request_rate=request_rate,
        seed=action.measurement + SEEDS_PER_ATTEMPT * (action.attempt - 1),
        warm_up_requests=run.settings.measuring.warm_up_requests,
        objective=run.settings.objective,
        workplace=workplace,
        sample=None if particle.confirmation_due else run.settings.sample,
        details=particle.confirmation_due,
        noise_key=(run.seed, action.particle, action.repeat),
    )


def announcement(
    run: RunState,
    action: Measure,
    order: MeasurementOrder,
    plan: MeasurementPlan,
    *,
    launch_id: str,
    cgroup: Path | None,
    cache_reset: bool,
) -> MeasurementStarted:
    """The event that is committed before the client is started, so that recovery can find what is left of it."""
    command = plan.command
    return MeasurementStarted(
        run=run.number,
        particle=action.particle,
        evaluation=action.evaluation,
        measurement=action.measurement,
        attempt=action.attempt,
        launch_id=launch_id,
        concurrency=order.concurrency,
        request_rate=order.request_rate,
        num_prompts=plan.num_prompts,
        seed=order.seed,
        argv=mask_argv(command.argv) if command else (),
        cgroup=str(cgroup or ""),
        log=str(client_log(order.workplace)) if command else "",
        directory=str(order.workplace.directory) if command else "",
        warm_up=order.warm_up_requests > 0,
        cache_reset=cache_reset,
        simulated=command is None,
    )


def finished(measurement: MeasurementUnderWay, metrics: Metrics, spent: Spent) -> list[Event]:
    """The client's result, beside what the service told of itself where early stopping looked."""
    run, started = measurement.run, measurement.started
    observer = measurement.observer if run.settings.early_stopping.enabled else None
    return [
        MeasurementFinished(
            run=started.run,
            particle=started.particle,
            evaluation=started.evaluation,
            measurement=started.measurement,
            attempt=started.attempt,
            metrics=metrics,
            seconds=spent.seconds,
            artefacts=spent.artefacts,
            simulated=started.simulated,
            served=observer.served(run.settings.objective) if observer is not None else None,
            looks=len(observer.looks) if observer is not None else 0,
            remark=observer.remark if observer is not None else measurement.plan.remark,
        )
    ]


def failed(measurement: MeasurementUnderWay, failure: Failure, spent: Spent) -> list[Event]:
    """The events of a measurement that does not count: whether it is tried again, and that the service is to blame."""
    run, started = measurement.run, measurement.started
    evaluation = run.evaluations[started.evaluation]
    retryable = "retryable" in (failure.kind, failure.service)
    cause = cause_of(failure.cause, failure.exit_status)
    once_more = cause == KILLED and not evaluation.killed
    will_retry = once_more or (retryable and evaluation.failures + 1 < run.settings.measuring.attempts)
    told = MeasurementFailed(
        run=started.run,
        particle=started.particle,
        evaluation=started.evaluation,
        measurement=started.measurement,
        attempt=started.attempt,
        kind=failure.kind,
        reason=failure.reason,
        exit_status=failure.exit_status,
        seconds=spent.seconds,
        metrics=failure.metrics,
        artefacts=spent.artefacts,
        will_retry=will_retry,
        cause=cause,
    )
    if failure.service is None:
        return [told]
    return [
        told,
        ServiceFailed(
            run=started.run,
            evaluation=started.evaluation,
            attempt=evaluation.attempt,
            kind=failure.service,
            reason=failure.reason,
            will_retry=will_retry,
            cause=cause,
        ),
    ]
