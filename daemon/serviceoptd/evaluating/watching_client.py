"""Running a benchmark client: until it ends, its service fails, or nobody needs the rest of it."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from serviceopt_journal.metrics import Metrics
from serviceoptd.benchmarks.interface import ClientOutcome
from serviceoptd.domain.failures import KILLED
from serviceoptd.domain.state import RunState
from serviceoptd.domain.stopping.early_stopping import Verdict
from serviceoptd.evaluating.context import Context
from serviceoptd.evaluating.ending_early import stakes_of
from serviceoptd.evaluating.live_service import LiveService
from serviceoptd.evaluating.measurement import Failure, Kind, MeasurementUnderWay
from serviceoptd.evaluating.observing import ServedRequests, metrics_page
from serviceoptd.evaluating.service_health import dead, died_in_its_log, not_ready_any_more, watch_progress
from serviceoptd.evaluating.surroundings.lacks import heals
from serviceoptd.io import cgroups
from serviceoptd.io.log_follower import LogFollower
from serviceoptd.io.processes import Child, spawn, stop
from serviceoptd.io.readiness import watch
from serviceoptd.toolkit.ended_logs.root_cause import kind_of
from serviceoptd.toolkit.interface import MetricsPage, UnusableResult

DYING = 2.0  # seconds in which a service whose client failed may turn out to have ended
CLIENT_GRACE = 5.0  # seconds from SIGTERM to SIGKILL for a client that is no longer wanted


async def run_client(context: Context, measurement: MeasurementUnderWay) -> Metrics | Failure | Verdict:
    """What the client measured, why that does not count, or why the rest of it was not waited for.

    However this is left, the client has ended.

    Raises:
        Interrupted: the measurement is not wanted any more.
        EnvironmentLacks: the client's program is not there.
    """
    run, observer = measurement.run, measurement.observer
    stakes = stakes_of(run, measurement.started)
    page = metrics_page(measurement.service.plan, run.settings.early_stopping, profile=True)
    counted = await ServedRequests.counted(page, run.settings.limits.http)
    since = measurement.service.log.position
    client = await _spawned(context, measurement)
    service = asyncio.ensure_future(_blamed(run, measurement.service, page))
    early: asyncio.Future[Verdict] = asyncio.Future()
    if observer is not None:
        early = asyncio.ensure_future(observer.verdict(stakes))
    try:
        ended = await context.unless_interrupted(watch_client(run, client, measurement.output, service, early))
        if not isinstance(ended, int):
            return ended
        if observer is not None:
            await observer.last_look()
        return await _believed(measurement, ended, service, counted, since)
    finally:
        for pending in (service, early):
            pending.cancel()
        await asyncio.gather(service, early, return_exceptions=True)
        await stop(client, grace=CLIENT_GRACE)


async def _spawned(context: Context, measurement: MeasurementUnderWay) -> Child:
    workplace, launch_id = measurement.order.workplace, measurement.started.launch_id
    assert measurement.plan.command is not None  # noqa: S101 - a simulated client is not run
    return await spawn(
        measurement.plan.command,
        environment=workplace.environment,
        working_directory=workplace.working_directory,
        launch_id=launch_id,
        output=measurement.output,
        cgroup=cgroups.create(context.cgroups, launch_id) if context.cgroups else None,
    )


async def _believed(
    measurement: MeasurementUnderWay,
    exit_status: int,
    service: asyncio.Future[Failure],
    counted: ServedRequests | None,
    since: int,
) -> Metrics | Failure:
    """The result of a client that has ended, or why it must not be believed: `service` may turn out to have failed.

    `since`: how far its log had been read before.
    """
    outcome = ClientOutcome(
        exit_status=exit_status,
        output=measurement.output,
        order=measurement.order,
        plan=measurement.plan,
    )
    live, limit = measurement.service, measurement.run.settings.limits.http
    length = measurement.run.settings.measuring.log_snippet_length
    try:
        metrics = await asyncio.to_thread(measurement.benchmark.read, outcome)
    except OSError as error:
        if heals(error):
            raise
        return Failure("unusable", f"the result cannot be read: {error}", exit_status)
    except UnusableResult as unusable:
        if heals(unusable):
            raise
        # A client whose requests fail is often the first to notice that its service has died.
        await asyncio.wait({service}, timeout=DYING if live.child is not None else 0.0)
        if service.done():
            return service.result()
        if told := await not_ready_any_more(live, limit) or await died_in_its_log(live, since, length):
            return replace(dead(told, str(unusable)), exit_status=exit_status, metrics=unusable.metrics)
        kind: Kind = "unusable" if exit_status == 0 else "exited"
        cause = kind_of(str(unusable)) if kind == "exited" else ""
        return Failure(kind, str(unusable), exit_status, unusable.metrics, cause=cause)
    told = await not_ready_any_more(live, limit) or await died_in_its_log(live, since, length) if metrics.failed else ""
    if told:
        lost = f"{metrics.failed} of {metrics.completed + metrics.failed} requests failed"
        return replace(dead(told, lost), exit_status=exit_status, metrics=metrics)
    if counted is not None and (contradiction := await counted.contradict(metrics)):
        return Failure("unusable", contradiction, exit_status, metrics)
    return metrics


async def _blamed(run: RunState, live: LiveService, page: MetricsPage | None) -> Failure:
    """Returns only when the service fails or hangs."""
    watching = [asyncio.ensure_future(watch_service(run, live))]
    if page is not None:
        watching.append(asyncio.ensure_future(watch_progress(page, live, run.settings)))
    try:
        done, _ = await asyncio.wait(watching, return_when=asyncio.FIRST_COMPLETED)
        return next(iter(done)).result()
    finally:
        for each in watching:
            each.cancel()
        await asyncio.gather(*watching, return_exceptions=True)


async def watch_service(run: RunState, live: LiveService) -> Failure:
    """Returns only when the service fails."""
    if live.child is None:  # simulated, or somebody else's: its log is not ours to read
        await asyncio.Event().wait()
    failed = await watch(
        follower=live.log,
        child=live.child,
        limit=math.inf,
        patterns=run.settings.service_errors,
        snippet_length=run.settings.measuring.log_snippet_length,
    )
    if live.ended_by_us:
        return Failure("service", "the service was stopped while the disk was full", service="retryable")
    if failed.kind == "exited":
        reason = f"the service ended while it was measured: {failed.reason}"
        # An engine that somebody sends SIGTERM ends in order; by itself it has no reason to.
        asked_to = failed.exit_status == 0 and not failed.cause
        cause = KILLED if asked_to else failed.cause
        return Failure("service", reason, failed.exit_status, service="exited", cause=cause)
    blamed: Literal["fatal", "retryable"] = "fatal" if failed.kind == "fatal" else "retryable"
    said = f"the service's log says: {failed.reason}"
    return Failure("service", said, failed.exit_status, service=blamed, cause=failed.cause)


async def watch_client(
    run: RunState,
    client: Child,
    output: Path,
    service: asyncio.Future[Failure],
    early: asyncio.Future[Verdict],
) -> int | Failure | Verdict:
    """The client's exit status, or why it was not waited for: `service` has failed, or `early` says so."""
    watching = asyncio.ensure_future(
        watch(
            follower=LogFollower(output),
            child=client,
            limit=run.settings.limits.measurement,
            patterns=run.settings.benchmark_errors,
            snippet_length=run.settings.measuring.log_snippet_length,
        )
    )
    try:
        any_of: list[asyncio.Future[Any]] = [watching, service, early]
        await asyncio.wait(any_of, return_when=asyncio.FIRST_COMPLETED)
        if service.done():
            return service.result()
        if early.done() and not watching.done():
            return early.result()
        ended = watching.result()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    if ended.kind == "exited" and ended.exit_status is not None:
        return ended.exit_status
    if ended.kind == "timeout":
        return Failure("timeout", f"the client did not end: {ended.reason}")
    severity: Kind = "fatal" if ended.kind == "fatal" else "retryable"
    return Failure(severity, f"the client's output says: {ended.reason}", ended.exit_status)
