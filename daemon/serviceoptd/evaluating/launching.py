"""Starting a service: announced, spawned, ready or failed; every step an event."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from msgspec.structs import replace

from serviceopt_journal.errors import EnvironmentLacks, InvalidConfiguration
from serviceopt_journal.events import (
    Event,
    ServiceFailed,
    ServiceLaunched,
    ServiceLaunching,
    ServiceReady,
    ServiceStopped,
)
from serviceoptd.domain.policy import Launch
from serviceoptd.domain.state import RunState
from serviceoptd.engines.interface import Engine, ServiceOrder, ServicePlan
from serviceoptd.evaluating.context import Context
from serviceoptd.evaluating.edited_files import edit, originals, refuse_unrestored
from serviceoptd.io import cgroups
from serviceoptd.io.devices import TOLERANCE, memory_in_use
from serviceoptd.io.http_probe import probe
from serviceoptd.io.log_follower import LogFollower
from serviceoptd.io.ports import ensure_free
from serviceoptd.io.processes import Child, spawn
from serviceoptd.io.readiness import Readiness, ready
from serviceoptd.toolkit.interface import Workplace
from serviceoptd.toolkit.secrets import mask_argv, mask_environment


@dataclass
class LiveService:
    """A service that runs now. Lives in memory only: after a crash, recovery ends what is left of it."""

    run: int
    evaluation: int
    attempt: int
    launch_id: str
    plan: ServicePlan
    workplace: Workplace
    engine: Engine
    child: Child | None
    log: LogFollower
    ended_by_us: bool = False  # while the disk was full: the measurement is to be tried again


async def launch(context: Context, run: RunState, action: Launch, announce: Callable[[LiveService], None]) -> None:
    """Starts the service of an evaluation and waits until it is ready, or is known to have failed.

    `announce` gets the service as soon as something of it may be alive: from then on somebody has to end it, however
    this function is left. It is not called where the engine refuses the configuration: ServiceStopped is committed then.

    Raises:
        EnvironmentLacks: this machine lacks something, and the run should be held.
        Interrupted: the launch is not wanted any more.
    """
    particle = run.particles[action.particle]
    engine = context.engine(run)
    workplace = context.workplace(run, f"evaluation-{action.evaluation}", f"launch-{action.attempt}")
    order = ServiceOrder(
        configuration=particle.configuration,
        fields=run.settings.fields,
        workplace=workplace,
        managed=run.settings.manage_lifecycle,
    )
    launch_id = os.urandom(16).hex()
    announced = ServiceLaunching(
        run=run.number,
        particle=action.particle,
        evaluation=action.evaluation,
        attempt=action.attempt,
        launch_id=launch_id,
        managed=run.settings.manage_lifecycle,
        devices=engine.devices(particle.configuration, run.settings.fields),
    )
    try:
        plan = engine.plan(order)
    except InvalidConfiguration as refused:
        await context.ledger.commit(announced, _failed(announced, "configuration", str(refused)), _stopped(announced))
        return
    refuse_unrestored(plan.edits, context.ledger.state)
    await _environment_is_ready(plan, workplace)

    log = workplace.directory / "service.log"
    cgroup = cgroups.path_of(context.cgroups, launch_id) if context.cgroups and plan.command else None
    memory = await memory_in_use(workplace.environment) if plan.command else {}
    edited = originals(plan.edits, context.artefacts)
    if run.settings.backup:  # finds what the files held by the hash in the event
        for content in plan.edits.values():
            context.artefacts.keep(content)
    announcement = _announcement(announced, plan, workplace, log, cgroup, memory)
    await context.ledger.commit(replace(announcement, edited_files=edited))
    live = LiveService(
        run=run.number,
        evaluation=action.evaluation,
        attempt=action.attempt,
        launch_id=launch_id,
        plan=plan,
        workplace=workplace,
        engine=engine,
        child=None,
        log=LogFollower(log),
    )
    announce(live)
    if plan.command is None and plan.simulated:
        await context.unless_interrupted(asyncio.sleep(getattr(engine, "pace", 0.0)))
        outcome = Readiness(ready=plan.failure is None, waited=0.0, kind="fatal", reason=plan.failure or "")
        await context.ledger.commit(await _outcome(run, announced, live, outcome, memory))
        return

    edit(plan.edits)
    if plan.command is not None:
        live.child = await spawn(
            plan.command,
            environment=workplace.environment,
            working_directory=workplace.working_directory,
            launch_id=launch_id,
            output=log,
            cgroup=cgroups.create(context.cgroups, launch_id) if context.cgroups else None,
        )
        await context.ledger.commit(
            ServiceLaunched(
                run=run.number,
                evaluation=action.evaluation,
                attempt=action.attempt,
                pid=live.child.pid,
                process_started=live.child.started,
            )
        )
    outcome = await context.unless_interrupted(
        ready(
            plan.ready,
            follower=live.log,
            child=live.child,
            limit=run.settings.limits.launch,
            patterns=run.settings.service_errors,
            snippet_length=run.settings.measuring.log_snippet_length,
            http_limit=run.settings.limits.http,
        )
    )
    await context.ledger.commit(await _outcome(run, announced, live, outcome, memory))


async def _environment_is_ready(plan: ServicePlan, workplace: Workplace) -> None:
    if plan.listens_on is not None and plan.command is not None:
        ensure_free(*plan.listens_on)
    if not workplace.working_directory.is_dir():
        raise EnvironmentLacks(
            f"the working directory {workplace.working_directory} of the run is not there, or not visible to the daemon",
            hint="put it back, or let the service see it (`serviceoptctl doctor --unit` prints the drop-in); then "
            "`serviceoptctl resume`",
        )


def _announcement(
    announced: ServiceLaunching,
    plan: ServicePlan,
    workplace: Workplace,
    log: Path,
    cgroup: Path | None,
    memory: dict[str, int],
) -> ServiceLaunching:
    command = plan.command
    if command is None:
        return replace(announced, simulated=plan.simulated)
    return replace(
        announced,
        argv=mask_argv(command.argv),
        working_directory=str(command.working_directory or workplace.working_directory),
        environment=mask_environment(command.environment),
        measuring_environment=mask_environment(command.measuring_environment),
        cgroup=str(cgroup or ""),
        log=str(log),
        devices=plan.devices if plan.devices is not None else announced.devices,
        stop_argv=tuple(plan.stop.argv) if plan.stop else (),
        device_memory=memory,
    )


async def _outcome(
    run: RunState, announced: ServiceLaunching, live: LiveService, outcome: Readiness, memory: dict[str, int]
) -> Event:
    if outcome.ready:
        return ServiceReady(
            run=announced.run,
            evaluation=announced.evaluation,
            attempt=announced.attempt,
            waited=outcome.waited,
            kv_blocks=await _kv_blocks(live, run.settings.limits.http),
        )
    kind = outcome.kind if outcome.kind != "ready" else "exited"
    if kind == "fatal" and "out_of_memory" in outcome.reason and _memory_was_held(run, memory):
        kind = "retryable"  # an earlier process still held the devices' memory: this teaches nothing
    evaluation = run.evaluations.get(announced.evaluation)
    failures = (evaluation.failures if evaluation else 0) + 1
    return _failed(
        announced,
        kind,
        outcome.reason,
        exit_status=outcome.exit_status,
        will_retry=kind == "retryable" and failures < run.settings.measuring.attempts,
    )


async def _kv_blocks(live: LiveService, timeout: float) -> int | None:
    if live.plan.simulated:
        return live.plan.kv_blocks
    if live.plan.report is None:
        return None
    answer = await probe(live.plan.report, timeout)
    return live.engine.kv_blocks(answer.body) if answer.status == live.plan.report.status else None


def _memory_was_held(run: RunState, memory: dict[str, int]) -> bool:
    """Whether a device held more before this launch than before the emptiest one of the run."""
    known = [evaluation.device_memory for evaluation in run.evaluations.values()]
    return any(
        used > min((levels[device] for levels in known if device in levels), default=used) + TOLERANCE
        for device, used in memory.items()
    )


def _failed(
    announced: ServiceLaunching,
    kind: Literal["fatal", "retryable", "exited", "timeout", "configuration", "environment"],
    reason: str,
    *,
    exit_status: int | None = None,
    will_retry: bool = False,
) -> ServiceFailed:
    return ServiceFailed(
        run=announced.run,
        evaluation=announced.evaluation,
        attempt=announced.attempt,
        kind=kind,
        reason=reason,
        exit_status=exit_status,
        will_retry=will_retry,
    )


def _stopped(announced: ServiceLaunching) -> ServiceStopped:
    return ServiceStopped(run=announced.run, evaluation=announced.evaluation, attempt=announced.attempt)
