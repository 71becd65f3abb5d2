"""Measuring a running service with a benchmark client: announced, spawned, believed or not."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from serviceopt_journal.events import Event
from serviceopt_journal.metrics import Metrics
from serviceoptd.domain.policy import Measure
from serviceoptd.domain.state import RunState
from serviceoptd.domain.stopping.early_stopping import Verdict
from serviceoptd.evaluating.context import Context
from serviceoptd.evaluating.ending_early import ended_early
from serviceoptd.evaluating.keeping.kept import kept
from serviceoptd.evaluating.keeping.profile_store import windows_to_keep
from serviceoptd.evaluating.live_service import LiveService
from serviceoptd.evaluating.measurement import (
    Failure,
    MeasurementUnderWay,
    Spent,
    announcement,
    client_log,
    failed,
    finished,
    order_of,
)
from serviceoptd.evaluating.observing import Observer, metrics_page
from serviceoptd.evaluating.service_health import forget_cached_prefixes, launched_anew, not_ready_any_more
from serviceoptd.evaluating.surroundings.watching import watched
from serviceoptd.evaluating.watching_client import run_client
from serviceoptd.io import cgroups

Outcome = Metrics | Failure | Verdict
"""What the client measured, why that does not count, or why the rest of it was not waited for."""


async def measure(context: Context, run: RunState, live: LiveService, action: Measure) -> None:
    """Runs the client once and commits what it told.

    Raises:
        Interrupted: the measurement is not wanted any more; its client has been ended.
        EnvironmentLacks: the client's program is not there.
        SurroundingsLack: it failed while something was lacking that may be there again: it is to be tried again.
    """
    again = run.evaluations[action.evaluation].measured_since_launch > 0
    limit, cache_reset, unfit = run.settings.limits.http, False, ""
    if again and not (unfit := await not_ready_any_more(live, limit)):
        cache_reset, unfit = await forget_cached_prefixes(live, limit)
    if unfit:  # the measurement that is due has not begun: it is not to blame, and goes to another launch
        await context.ledger.commit(launched_anew(live, unfit))
        return
    measurement = await _announced(context, run, live, action, cache_reset=cache_reset)
    before = context.clock.monotonic()
    outcome = await (_simulated if measurement.plan.command is None else _measured)(context, measurement)
    seconds = context.clock.monotonic() - before
    spent = Spent(seconds, await kept(context, _to_keep(measurement, outcome)))
    await context.ledger.commit(*await _events(context, measurement, outcome, spent))


async def _announced(
    context: Context, run: RunState, live: LiveService, action: Measure, *, cache_reset: bool
) -> MeasurementUnderWay:
    benchmark = context.benchmark(run)
    place = f"measurement-{action.measurement}-{action.attempt}"
    order = order_of(run, action, context.workplace(run, f"evaluation-{action.evaluation}", place))
    plan = await asyncio.to_thread(benchmark.plan, order)  # that of a simulated one is its whole benchmark
    launch_id = os.urandom(16).hex()
    cgroup = cgroups.path_of(context.cgroups, launch_id) if context.cgroups and plan.command else None
    started = announcement(run, action, order, plan, launch_id=launch_id, cgroup=cgroup, cache_reset=cache_reset)
    await context.ledger.commit(started)
    early, profile = run.settings.early_stopping, run.settings.store_profile
    page = metrics_page(live.plan, early, profile=profile) if live.child is not None else None
    output = client_log(order.workplace)
    observer = Observer(page, run.settings, plan.main_run, order.warm_up_requests, output) if page is not None else None
    return MeasurementUnderWay(run, live, benchmark, order, plan, started, observer)


async def _measured(context: Context, measurement: MeasurementUnderWay) -> Outcome:
    command, workplace = measurement.plan.command, measurement.order.workplace
    async with watched(context, measurement.service, workplace, command.environment if command else {}) as watch:
        outcome = await run_client(context, measurement)
        if isinstance(outcome, Failure):
            await watch.excuse(outcome.reason, outcome.cause)
    return outcome


async def _simulated(context: Context, measurement: MeasurementUnderWay) -> Outcome:
    """The outcome that lies in the plan already, after the pause that a simulated client asks for."""
    await context.unless_interrupted(asyncio.sleep(getattr(measurement.benchmark, "pace", 0.0)))
    plan = measurement.plan
    return plan.simulated or Failure("exited", plan.failure or "the simulated client gave no result")


def _to_keep(measurement: MeasurementUnderWay, outcome: Outcome) -> dict[str, Path | bytes]:
    plan = measurement.plan
    files: dict[str, Path | bytes] = (
        {**(plan.artefacts or {}), "client.log": measurement.output} if plan.command else {}
    )
    if not isinstance(outcome, Failure):
        files |= windows_to_keep(measurement.run, measurement.started, measurement.observer)
    return files


async def _events(context: Context, measurement: MeasurementUnderWay, outcome: Outcome, spent: Spent) -> list[Event]:
    match outcome:
        case Metrics():
            return finished(measurement, outcome, spent)
        case Failure():
            return failed(measurement, outcome, spent)
        case Verdict():
            observer = measurement.observer
            assert observer is not None  # noqa: S101 - only an observer gives a verdict
            limit = measurement.run.settings.limits.stop
            drained = await context.unless_interrupted(observer.idle(limit))
            return ended_early(measurement, outcome, spent, looks=len(observer.looks), drained=drained)
