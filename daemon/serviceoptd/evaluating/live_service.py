"""A service as data: how its launch is announced, the one that runs now, and the events of its readiness or failure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from msgspec.structs import replace

from serviceopt_journal.events import ServiceFailed, ServiceLaunching, ServiceStopped
from serviceoptd.domain.failures import DEVICE_IN_USE, KILLED, KV_CACHE, OUT_OF_MEMORY, cause_of
from serviceoptd.domain.policy import Launch
from serviceoptd.domain.state import RunState
from serviceoptd.engines.interface import Engine, ServiceOrder, ServicePlan
from serviceoptd.io.devices import TOLERANCE
from serviceoptd.io.log_follower import LogFollower
from serviceoptd.io.processes import Child
from serviceoptd.io.readiness import Readiness
from serviceoptd.toolkit.interface import Workplace
from serviceoptd.toolkit.secrets import mask_argv, mask_environment

OF_MEMORY = frozenset({OUT_OF_MEMORY, KV_CACHE, DEVICE_IN_USE})
"""Kinds of failure that a process which has not yet given the devices' memory back can cause."""


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


def service_log(workplace: Workplace) -> Path:
    """The file of a service's standard output and error."""
    return workplace.directory / "service.log"


def order_of(run: RunState, action: Launch, workplace: Workplace) -> ServiceOrder:
    """What the engine is asked to serve."""
    return ServiceOrder(
        configuration=run.particles[action.particle].configuration,
        fields=run.settings.fields,
        workplace=workplace,
        managed=run.settings.manage_lifecycle,
    )


def intention(run: RunState, action: Launch, engine: Engine, launch_id: str) -> ServiceLaunching:
    """The announcement before the engine has said how: all of it that is known of a configuration it may refuse."""
    return ServiceLaunching(
        run=run.number,
        particle=action.particle,
        evaluation=action.evaluation,
        attempt=action.attempt,
        launch_id=launch_id,
        managed=run.settings.manage_lifecycle,
        devices=engine.devices(run.particles[action.particle].configuration, run.settings.fields),
    )


def with_plan(
    announced: ServiceLaunching,
    plan: ServicePlan,
    workplace: Workplace,
    cgroup: Path | None,
    memory: dict[str, int],
) -> ServiceLaunching:
    """The announcement with what the engine's plan starts, and with the bytes in use on each device before."""
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
        log=str(service_log(workplace)),
        devices=plan.devices if plan.devices is not None else announced.devices,
        stop_argv=tuple(plan.stop.argv) if plan.stop else (),
        device_memory=memory,
    )


def not_ready(run: RunState, announced: ServiceLaunching, readiness: Readiness) -> ServiceFailed:
    """Why the service did not become ready, and whether the launch is tried again."""
    kind = readiness.kind if readiness.kind != "ready" else "exited"
    of_memory = kind in ("fatal", "exited") and readiness.cause in OF_MEMORY
    if of_memory and _memory_was_held(run, announced.device_memory):
        kind = "retryable"  # an earlier process still held the devices' memory: this teaches nothing
    evaluation = run.evaluations.get(announced.evaluation)
    failures = (evaluation.failures if evaluation else 0) + 1
    cause = cause_of(readiness.cause, readiness.exit_status)
    once_more = cause == KILLED and not (evaluation and evaluation.killed)
    return failed(
        announced,
        kind,
        readiness.reason,
        exit_status=readiness.exit_status,
        cause=cause,
        will_retry=once_more or (kind == "retryable" and failures < run.settings.measuring.attempts),
    )


def _memory_was_held(run: RunState, memory: dict[str, int]) -> bool:
    """Whether a device held more before this launch than before the emptiest one of the run."""
    known = [evaluation.device_memory for evaluation in run.evaluations.values()]
    return any(
        used > min((levels[device] for levels in known if device in levels), default=used) + TOLERANCE
        for device, used in memory.items()
    )


def failed(
    announced: ServiceLaunching,
    kind: Literal["fatal", "retryable", "exited", "timeout", "configuration", "environment"],
    reason: str,
    *,
    exit_status: int | None = None,
    cause: str = "",
    will_retry: bool = False,
) -> ServiceFailed:
    """The failure of this launch."""
    return ServiceFailed(
        run=announced.run,
        evaluation=announced.evaluation,
        attempt=announced.attempt,
        kind=kind,
        reason=reason,
        exit_status=exit_status,
        cause=cause,
        will_retry=will_retry,
    )


def stopped(announced: ServiceLaunching) -> ServiceStopped:
    """The end of a launch of which nothing was started."""
    return ServiceStopped(run=announced.run, evaluation=announced.evaluation, attempt=announced.attempt)
