"""Measuring a running service with a benchmark client: announced, spawned, believed or not."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from pathlib import Path

from serviceopt_journal.events import Event, MeasurementFailed, MeasurementFinished, MeasurementStarted, ServiceFailed
from serviceopt_journal.metrics import Metrics
from serviceoptd.benchmarks.interface import Benchmark, ClientOutcome, MeasurementOrder, MeasurementPlan
from serviceoptd.domain.load import load_of
from serviceoptd.domain.policy import Measure
from serviceoptd.domain.state import RunState
from serviceoptd.domain.stopping.early_stopping import Stakes, Verdict
from serviceoptd.evaluating.context import Context
from serviceoptd.evaluating.ending_early import early_end, stakes_of
from serviceoptd.evaluating.launching import LiveService
from serviceoptd.evaluating.observing import Observer, metrics_page
from serviceoptd.evaluating.profile_store import keep_windows
from serviceoptd.evaluating.watching_client import Failure, Kind, watch_client, watch_service
from serviceoptd.io import cgroups
from serviceoptd.io.http_probe import probe
from serviceoptd.io.processes import spawn, stop
from serviceoptd.toolkit.interface import UnusableResult
from serviceoptd.toolkit.secrets import mask_argv

DYING = 2.0  # seconds in which a service whose client failed may turn out to have ended
CLIENT_GRACE = 5.0  # seconds from SIGTERM to SIGKILL for a client that is no longer wanted
SEEDS_PER_ATTEMPT = 1000


async def measure(context: Context, run: RunState, live: LiveService, action: Measure) -> None:
    """Runs the client once and commits what it told.

    Raises:
        Interrupted: the measurement is not wanted any more; its client has been ended.
        EnvironmentLacks: the client's program is not there.
    """
    benchmark = context.benchmark(run)
    evaluation = run.evaluations[action.evaluation]
    again = evaluation.measured_since_launch > 0
    workplace = context.workplace(
        run, f"evaluation-{action.evaluation}", f"measurement-{action.measurement}-{action.attempt}"
    )
    particle = run.particles[action.particle]
    concurrency, request_rate = load_of(particle.configuration)
    order = MeasurementOrder(
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
    plan = await asyncio.to_thread(benchmark.plan, order)  # that of a simulated one is its whole benchmark
    reset = again and await _forget_cached_prefixes(live, run.settings.limits.http)
    launch_id = os.urandom(16).hex()
    cgroup = cgroups.path_of(context.cgroups, launch_id) if context.cgroups and plan.command else None
    output = workplace.directory / "client.log"
    started = MeasurementStarted(
        run=run.number,
        particle=action.particle,
        evaluation=action.evaluation,
        measurement=action.measurement,
        attempt=action.attempt,
        launch_id=launch_id,
        concurrency=concurrency,
        request_rate=request_rate,
        num_prompts=plan.num_prompts,
        seed=order.seed,
        argv=mask_argv(plan.command.argv) if plan.command else (),
        cgroup=str(cgroup or ""),
        log=str(output) if plan.command else "",
        directory=str(workplace.directory) if plan.command else "",
        warm_up=order.warm_up_requests > 0,
        cache_reset=reset,
        simulated=plan.command is None,
    )
    await context.ledger.commit(started)
    before = context.clock.monotonic()
    early, profile = run.settings.early_stopping, run.settings.store_profile
    page = metrics_page(live.plan, early, profile=profile) if live.child is not None else None
    observer = Observer(page, run.settings, plan.main_run, order.warm_up_requests, output) if page is not None else None
    if plan.command is None:
        await context.unless_interrupted(asyncio.sleep(getattr(benchmark, "pace", 0.0)))
        outcome: Metrics | Failure | Verdict = plan.simulated or Failure(
            "exited", plan.failure or "the simulated client gave no result"
        )
    else:
        stakes = stakes_of(run, particle, started)
        outcome = await _run_client(context, run, live, benchmark, order, plan, launch_id, output, observer, stakes)
    seconds = context.clock.monotonic() - before
    artefacts = _keep(context, plan.artefacts or {}, output) if plan.command else {}
    if not isinstance(outcome, Failure):
        artefacts |= keep_windows(context, run, started, observer)
    if isinstance(outcome, Verdict) and observer is not None:
        drained = await context.unless_interrupted(observer.idle(run.settings.limits.stop))
        ended = early_end(
            run, started, outcome, seconds=seconds, artefacts=artefacts, looks=len(observer.looks), drained=drained
        )
        await context.ledger.commit(*ended)
    elif not isinstance(outcome, Verdict):
        told = observer if early.enabled else None
        await context.ledger.commit(*_events(run, started, outcome, seconds, artefacts, told, plan.remark))


async def _forget_cached_prefixes(live: LiveService, timeout: float) -> bool:
    """Asks the service to drop its prefix cache; false where it offers no such thing."""
    if live.plan.reset_cache is None:
        return False
    answer = await probe(live.plan.reset_cache, timeout)
    return answer.status == live.plan.reset_cache.status


async def _run_client(
    context: Context,
    run: RunState,
    live: LiveService,
    benchmark: Benchmark,
    order: MeasurementOrder,
    plan: MeasurementPlan,
    launch_id: str,
    output: Path,
    observer: Observer | None,
    stakes: Stakes | None,
) -> Metrics | Failure | Verdict:
    assert plan.command is not None  # noqa: S101 - told by the caller
    began = time.time()  # compared with the result file's time stamp, which is wall time
    client = await spawn(
        plan.command,
        environment=order.workplace.environment,
        working_directory=order.workplace.working_directory,
        launch_id=launch_id,
        output=output,
        cgroup=cgroups.create(context.cgroups, launch_id) if context.cgroups else None,
    )
    service = asyncio.ensure_future(watch_service(run, live))
    early = asyncio.ensure_future(observer.verdict(stakes)) if observer is not None else asyncio.Future[Verdict]()
    try:
        ended = await context.unless_interrupted(watch_client(run, client, output, service, early))
        if not isinstance(ended, int):
            return ended
        if observer is not None:
            await observer.last_look()
        try:
            return benchmark.read(
                ClientOutcome(exit_status=ended, output=output, started=began, order=order, plan=plan)
            )
        except UnusableResult as unusable:
            # A client whose requests fail is often the first to notice that its service has died.
            await asyncio.wait({service}, timeout=DYING if live.child is not None else 0.0)
            if service.done():
                return service.result()
            kind: Kind = "unusable" if ended == 0 else "exited"
            return Failure(kind, str(unusable), ended, unusable.metrics)
    finally:
        for pending in (service, early):
            pending.cancel()
        await asyncio.gather(service, early, return_exceptions=True)
        await stop(client, grace=CLIENT_GRACE)


def _keep(context: Context, files: Mapping[str, Path], output: Path) -> dict[str, str]:
    found = {name: path for name, path in {**files, "client.log": output}.items() if path.is_file()}
    return {name: context.artefacts.keep(path) for name, path in found.items()}


def _events(
    run: RunState,
    started: MeasurementStarted,
    outcome: Metrics | Failure,
    seconds: float,
    artefacts: dict[str, str],
    observer: Observer | None,
    remark: str,
) -> list[Event]:
    if isinstance(outcome, Metrics):
        return [
            MeasurementFinished(
                run=started.run,
                particle=started.particle,
                evaluation=started.evaluation,
                measurement=started.measurement,
                attempt=started.attempt,
                metrics=outcome,
                seconds=seconds,
                artefacts=artefacts,
                simulated=started.simulated,
                served=observer.served(run.settings.objective) if observer is not None else None,
                looks=len(observer.looks) if observer is not None else 0,
                remark=observer.remark if observer is not None else remark,
            )
        ]
    evaluation = run.evaluations[started.evaluation]
    retryable = "retryable" in (outcome.kind, outcome.service)
    will_retry = retryable and evaluation.failures + 1 < run.settings.measuring.attempts
    failed = MeasurementFailed(
        run=started.run,
        particle=started.particle,
        evaluation=started.evaluation,
        measurement=started.measurement,
        attempt=started.attempt,
        kind=outcome.kind,
        reason=outcome.reason,
        exit_status=outcome.exit_status,
        seconds=seconds,
        metrics=outcome.metrics,
        artefacts=artefacts,
        will_retry=will_retry,
    )
    if outcome.service is None:
        return [failed]
    return [
        failed,
        ServiceFailed(
            run=started.run,
            evaluation=started.evaluation,
            attempt=evaluation.attempt,
            kind=outcome.service,
            reason=outcome.reason,
            will_retry=will_retry,
        ),
    ]
