"""Starting a service: announced, spawned, ready or failed; every step an event."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from msgspec.structs import replace

from serviceopt_journal.errors import EnvironmentLacks, InvalidConfiguration
from serviceopt_journal.events import Event, ServiceLaunched, ServiceLaunching, ServiceReady
from serviceoptd.domain.failures import REFUSED_ARGUMENT
from serviceoptd.domain.policy import Launch
from serviceoptd.domain.state import RunState
from serviceoptd.engines.interface import ServicePlan, TellsBlockSize
from serviceoptd.evaluating.context import Context
from serviceoptd.evaluating.edited_files import edit, originals, refuse_unrestored
from serviceoptd.evaluating.live_service import (
    LiveService,
    failed,
    intention,
    not_ready,
    order_of,
    service_log,
    stopped,
    with_plan,
)
from serviceoptd.evaluating.surroundings.watching import watched
from serviceoptd.io import cgroups
from serviceoptd.io.devices import memory_in_use
from serviceoptd.io.http_probe import probe
from serviceoptd.io.log_follower import LogFollower
from serviceoptd.io.ports import ensure_free
from serviceoptd.io.processes import Child, spawn
from serviceoptd.io.readiness import Readiness, ready
from serviceoptd.toolkit.ended_logs.root_cause import kind_of
from serviceoptd.toolkit.interface import Command, Workplace


async def launch(context: Context, run: RunState, action: Launch, announce: Callable[[LiveService], None]) -> None:
    """Starts the service of an evaluation and waits until it is ready, or is known to have failed.

    `announce` gets the service as soon as something of it may be alive: from then on somebody has to end it, however
    this function is left. It is not called where the engine refuses the configuration: ServiceStopped is committed then.

    Raises:
        EnvironmentLacks: this machine lacks something, and the run should be held.
        SurroundingsLack: it failed while something was lacking that may be there again: it is to be tried again.
        Interrupted: the launch is not wanted any more.
    """
    engine = context.engine(run)
    workplace = context.workplace(run, f"evaluation-{action.evaluation}", f"launch-{action.attempt}")
    order = order_of(run, action, workplace)
    intended = intention(run, action, engine, launch_id=os.urandom(16).hex())
    try:
        plan = engine.plan(order)
    except InvalidConfiguration as refused:
        told = failed(intended, "configuration", str(refused), cause=REFUSED_ARGUMENT)
        await context.ledger.commit(intended, told, stopped(intended))
        return
    refuse_unrestored(plan.edits, context.ledger.state)
    await _environment_is_ready(plan, workplace)
    announced = await _announcement(context, run, intended, plan, workplace)
    await context.ledger.commit(announced)
    live = LiveService(
        run=run.number,
        evaluation=action.evaluation,
        attempt=action.attempt,
        launch_id=announced.launch_id,
        plan=plan,
        workplace=workplace,
        engine=engine,
        child=None,
        log=LogFollower(service_log(workplace)),
    )
    announce(live)
    readiness = await (_simulated if plan.command is None and plan.simulated else _started)(context, run, live)
    await context.ledger.commit(await _outcome(run, announced, live, readiness))


async def _environment_is_ready(plan: ServicePlan, workplace: Workplace) -> None:
    if plan.listens_on is not None and plan.command is not None:
        ensure_free(*plan.listens_on)
    if not workplace.working_directory.is_dir():
        raise EnvironmentLacks(
            f"the working directory {workplace.working_directory} of the run does not exist, or the daemon cannot see it",
            hint="restore it, or let the service see it (`serviceoptctl doctor --unit` prints the drop-in); then "
            "`serviceoptctl resume`",
        )


async def _announcement(
    context: Context, run: RunState, intended: ServiceLaunching, plan: ServicePlan, workplace: Workplace
) -> ServiceLaunching:
    """What recovery and the record need, looked up before anything is started. Edited files are kept for both."""
    cgroup = cgroups.path_of(context.cgroups, intended.launch_id) if context.cgroups and plan.command else None
    memory = await memory_in_use(workplace.environment) if plan.command else {}
    edited = originals(plan.edits, context.artefacts, plan.configured_by)
    for content in plan.edits.values():  # found by the hash in the event: `best` writes it, a backup copies it
        context.artefacts.keep(content)
    return replace(with_plan(intended, plan, workplace, cgroup, memory), edited_files=edited)


async def _simulated(context: Context, run: RunState, live: LiveService) -> Readiness:
    """The readiness that lies in the plan already, after the pause that a simulated engine asks for."""
    await context.unless_interrupted(asyncio.sleep(getattr(live.engine, "pace", 0.0)))
    failure = live.plan.failure
    return Readiness(
        ready=failure is None, waited=0.0, kind="fatal", reason=failure or "", cause=kind_of(failure or "")
    )


async def _started(context: Context, run: RunState, live: LiveService) -> Readiness:
    """Edits the user's files, spawns the process where it is ours to spawn, and waits for its signs of life."""
    edit(live.plan.edits)
    if live.plan.command is not None:
        live.child = await _spawned(context, live, live.plan.command)
        await context.ledger.commit(
            ServiceLaunched(
                run=live.run,
                evaluation=live.evaluation,
                attempt=live.attempt,
                pid=live.child.pid,
                process_started=live.child.started,
            )
        )
    environment = {} if live.plan.command is None else live.plan.command.environment
    async with watched(context, live, live.workplace, environment) as watch:
        readiness = await context.unless_interrupted(_ready(run, live))
        if not readiness.ready:
            await watch.excuse(readiness.reason, readiness.cause)
    return readiness


async def _ready(run: RunState, live: LiveService) -> Readiness:
    return await ready(
        live.plan.ready,
        follower=live.log,
        child=live.child,
        limit=run.settings.limits.launch,
        patterns=run.settings.service_errors,
        snippet_length=run.settings.measuring.log_snippet_length,
        http_limit=run.settings.limits.http,
    )


async def _spawned(context: Context, live: LiveService, command: Command) -> Child:
    return await spawn(
        command,
        environment=live.workplace.environment,
        working_directory=live.workplace.working_directory,
        launch_id=live.launch_id,
        output=service_log(live.workplace),
        cgroup=cgroups.create(context.cgroups, live.launch_id) if context.cgroups else None,
    )


async def _outcome(run: RunState, announced: ServiceLaunching, live: LiveService, readiness: Readiness) -> Event:
    if not readiness.ready:
        return not_ready(run, announced, readiness)
    blocks, size = await _kv_cache(live, run.settings.limits.http)
    return ServiceReady(
        run=announced.run,
        evaluation=announced.evaluation,
        attempt=announced.attempt,
        waited=readiness.waited,
        kv_blocks=blocks,
        kv_block_size=size,
    )


async def _kv_cache(live: LiveService, timeout: float) -> tuple[int | None, int | None]:
    """The number of blocks and the tokens of one, as the service reports them."""
    if live.plan.simulated:
        return live.plan.kv_blocks, None
    if live.plan.report is None:
        return None, None
    answer = await probe(live.plan.report, timeout)
    if answer.status != live.plan.report.status:
        return None, None
    engine = live.engine
    size = engine.kv_block_size(answer.body) if isinstance(engine, TellsBlockSize) else None
    return engine.kv_blocks(answer.body), size
