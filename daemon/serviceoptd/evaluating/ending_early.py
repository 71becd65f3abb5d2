"""What early stopping is about in a run, and the events that tell that a measurement was ended."""

from __future__ import annotations

from serviceopt_journal.events import (
    Event,
    MeasurementFinished,
    MeasurementRejected,
    MeasurementStarted,
    ServiceFailed,
)
from serviceoptd.domain.state import RunState
from serviceoptd.domain.stopping.client_ratios import Agreement
from serviceoptd.domain.stopping.early_stopping import Stakes, Verdict
from serviceoptd.evaluating.measurement import MeasurementUnderWay, Spent
from serviceoptd.evaluating.rejecting import CURRENT_SETTING

RULE = "early-stopping"
OBSERVED = "ended early: observed by the service's own metrics"
"""What is said of a result that the client did not tell, wherever it is shown."""


def stakes_of(run: RunState, started: MeasurementStarted) -> Stakes | None:
    """What an early end is judged by; None: this measurement runs to its end.

    The current setting's does, which everything is compared with, and so
    do repetitions and confirmations, which are there to know more precisely."""
    early, particle = run.settings.early_stopping, run.particles[started.particle]
    if not early.enabled or particle.origin == CURRENT_SETTING or particle.measurements or particle.confirmation_due:
        return None
    best = run.best()
    return Stakes(
        objective=run.settings.objective,
        requests=started.num_prompts,
        concurrency=started.concurrency,
        best=run.judgement(best) if best is not None else None,
        devices=particle.devices,
        agreement=Agreement(run.served),
        error_rate=early.error_rate,
        precision=early.precision,
    )


def ended_early(
    measurement: MeasurementUnderWay, verdict: Verdict, spent: Spent, *, looks: int, drained: float | None
) -> list[Event]:
    """The event of a measurement that was ended early: a result, or a rejection.

    `drained` None: requests of the ended client still run, so the service is not fit for
    another measurement and is launched anew if one is due."""
    run, started = measurement.run, measurement.started
    waited = run.settings.limits.stop if drained is None else drained
    tell = _converged if verdict.kind == "converged" else _rejected
    told = tell(started, verdict, spent, looks, waited)
    if drained is not None:
        return [told]
    return [
        told,
        ServiceFailed(
            run=started.run,
            evaluation=started.evaluation,
            attempt=run.evaluations[started.evaluation].attempt,
            kind="retryable",
            reason=f"requests of a client that was ended still ran after {waited:g} s",
            will_retry=True,
        ),
    ]


def _converged(started: MeasurementStarted, verdict: Verdict, spent: Spent, looks: int, drained: float) -> Event:
    return MeasurementFinished(
        run=started.run,
        particle=started.particle,
        evaluation=started.evaluation,
        measurement=started.measurement,
        attempt=started.attempt,
        metrics=verdict.metrics,
        seconds=spent.seconds,
        artefacts=spent.artefacts,
        stopped_early=f"converged: {verdict.reason}",
        observed_by="metrics",
        looks=looks,
        drained=drained,
        remark=OBSERVED,
    )


def _rejected(started: MeasurementStarted, verdict: Verdict, spent: Spent, looks: int, drained: float) -> Event:
    return MeasurementRejected(
        run=started.run,
        particle=started.particle,
        evaluation=started.evaluation,
        measurement=started.measurement,
        attempt=started.attempt,
        rule=RULE,
        reason=f"ended early ({verdict.kind}) {verdict.reason}",
        observed=verdict.metrics,
        statistic=verdict.statistic,
        bound=verdict.bound,
        seconds=spent.seconds,
        artefacts=spent.artefacts,
        looks=looks,
        drained=drained,
    )
