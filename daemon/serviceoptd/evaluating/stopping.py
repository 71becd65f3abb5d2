"""Ending a service, and what recovery does about one that was announced and whose end nobody saw."""

from __future__ import annotations

import asyncio
from pathlib import Path

from serviceopt_journal.events import EvaluationFinished, EvaluationInterrupted, Event, ServiceStopped, ServiceStopping
from serviceoptd.domain.creation import waited
from serviceoptd.domain.state import Evaluation, RunState
from serviceoptd.evaluating.context import Context
from serviceoptd.evaluating.edited_files import restore
from serviceoptd.evaluating.keeping.backup import keep_backup
from serviceoptd.evaluating.keeping.kept import kept
from serviceoptd.evaluating.keeping.pruning import prune
from serviceoptd.evaluating.live_service import LiveService, service_log
from serviceoptd.io.devices import wait_until_released
from serviceoptd.io.processes import spawn, stop
from serviceoptd.io.reaping import reap
from serviceoptd.toolkit.interface import Command


async def stop_service(context: Context, run: RunState, live: LiveService, reason: str) -> None:
    """Ends the service and waits until its devices' memory is free again; ServiceStopped is committed."""
    number, attempt = live.evaluation, live.attempt
    await context.ledger.commit(ServiceStopping(run=run.number, evaluation=number, attempt=attempt, reason=reason))
    await context.ledger.commit(await _end(context, run, live))


async def interrupt_service(context: Context, run: RunState, live: LiveService, reason: str) -> None:
    """Ends a service that is not wanted any more, although something may be due on it."""
    stopped = await _end(context, run, live)
    evaluation = context.ledger.state.runs[run.number].evaluations[live.evaluation]
    await context.ledger.commit(_closing(run, evaluation, reason, (), stopped))


async def _end(context: Context, run: RunState, live: LiveService) -> ServiceStopped:
    before = context.clock.monotonic()
    exit_status, forced = None, False
    if live.child is not None:
        outcome = await stop(live.child, grace=run.settings.limits.stop, stop_command=live.plan.stop)
        exit_status, forced = outcome.exit_status, outcome.forced
    evaluation = context.ledger.state.runs[run.number].evaluations[live.evaluation]
    restore(evaluation.edited_files, context.artefacts)
    free, waited = await wait_until_released(
        evaluation.device_memory, live.workplace.environment, limit=run.settings.limits.device_memory
    )
    log = service_log(live.workplace)
    return ServiceStopped(
        run=run.number,
        evaluation=live.evaluation,
        attempt=live.attempt,
        exit_status=exit_status,
        forced=forced,
        seconds=context.clock.monotonic() - before,
        memory_waited=waited,
        memory_free=free,
        artefacts=await kept(context, {"service.log": log}) if live.child is not None else {},
    )


async def recover(context: Context, run: RunState) -> None:
    """Closes a launch that a dead daemon had announced: ends what is left of it, and says so.

    A launch on which everything had been measured counts as stopped; any other as interrupted, and its evaluation
    goes on under the same number.
    """
    evaluation = run.evaluation
    if evaluation is None or not evaluation.announced:
        return
    if evaluation.managed and evaluation.stop_argv:
        await _run_stop_command(context, run, evaluation)
    reaped = list(await _reap(evaluation.launch_id, evaluation.cgroup, evaluation.log))
    if measuring := evaluation.measuring:
        reaped += await _reap(measuring.launch_id, measuring.cgroup, measuring.log)
    restore(evaluation.edited_files, context.artefacts)
    free, waited = await wait_until_released(
        evaluation.device_memory,
        context.environment(run) if evaluation.device_memory else {},
        limit=run.settings.limits.device_memory,
    )
    stopped = ServiceStopped(
        run=run.number,
        evaluation=evaluation.number,
        attempt=evaluation.attempt,
        forced=bool(reaped),
        memory_waited=waited,
        memory_free=free,
        artefacts=await kept(context, {"service.log": Path(evaluation.log)}) if evaluation.log else {},
    )
    reason = "the daemon ended while it was under way"
    await context.ledger.commit(_closing(run, evaluation, reason, tuple(reaped), stopped))


async def _run_stop_command(context: Context, run: RunState, evaluation: Evaluation) -> None:
    """Processes in a container are not ours to see: only the stop command reaches them."""
    workplace = context.workplace(run, f"evaluation-{evaluation.number}", "recovery")
    stopper = await spawn(
        Command(argv=evaluation.stop_argv),
        environment={**workplace.environment, **evaluation.environment},
        working_directory=workplace.working_directory,
        launch_id=f"{evaluation.launch_id}-recovery",
        output=workplace.directory / "stop-command.log",
    )
    await asyncio.wait({asyncio.ensure_future(stopper.wait())}, timeout=run.settings.limits.stop)
    await stop(stopper, grace=0.0)


async def _reap(launch_id: str, cgroup: str, log: str) -> tuple[int, ...]:
    return await reap(launch_id, Path(cgroup) if cgroup else None, output=Path(log) if log else None)


def _closing(
    run: RunState, evaluation: Evaluation, reason: str, reaped: tuple[int, ...], stopped: ServiceStopped
) -> Event:
    if evaluation.phase in ("failed", "stopping") or (
        evaluation.phase == "ready" and evaluation.measuring is None and run.due_on(evaluation) is None
    ):
        return stopped
    return EvaluationInterrupted(
        run=run.number, evaluation=evaluation.number, attempt=evaluation.attempt, reason=reason, reaped=reaped
    )


async def finish_evaluation(context: Context, run: RunState, number: int) -> None:
    """Commits that nothing more is due on this launch."""
    evaluation = run.evaluations[number]
    particles = evaluation.particles or (evaluation.particle,)
    troubles = (run.particles[particle].error or run.particles[particle].unconfirmed for particle in particles)
    errors = [trouble for trouble in troubles if trouble]
    backup = await asyncio.to_thread(keep_backup, context, run, evaluation)
    await context.ledger.commit(
        EvaluationFinished(
            run=run.number,
            evaluation=number,
            particles=particles,
            error="; ".join(dict.fromkeys(errors)),
            seconds=waited(evaluation, context.ledger.state.moment),
            backup=backup.directory,
            backup_skipped=backup.skipped,
        )
    )
    await asyncio.to_thread(prune, context.state_directory, context.ledger.state)
