"""A stock vLLM, started with the recorder of its steps, and ended."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from serviceopt_journal.errors import EnvironmentLacks, InvalidConfiguration
from serviceopt_journal.foreign_files import LARGEST_CONFIGURATION, MIB, content, tail
from serviceopt_journal.foreign_text import json_value
from serviceoptd.domain.settings import RunSettings
from serviceoptd.engines.interface import Engine, ServiceOrder, ServicePlan
from serviceoptd.engines.vllm_flags import SPELLINGS
from serviceoptd.io.devices import memory_in_use, wait_until_released
from serviceoptd.io.log_follower import LogFollower, plain
from serviceoptd.io.ports import ensure_free
from serviceoptd.io.processes import Child, spawn, stop
from serviceoptd.io.readiness import ready
from serviceoptd.profiling.recording.inside_vllm import serviceopt_step_recorder as recorder
from serviceoptd.toolkit.arguments import flag_of
from serviceoptd.toolkit.interface import Command

FLAG = "--scheduler-cls"
FACTORY = f"{recorder.__name__.rpartition('.')[2]}.{recorder.factory.__name__}"
DIRECTORY = Path(recorder.__file__).parent
LOG = "service.log"
LOOKED_THROUGH = 16 * MIB  # bytes at the end of the service's log
TRIED = "the scheduler's interface is not a public one; the recorder was tested with vLLM 0.32"


class NotServed(EnvironmentLacks):
    """The service did not start with this configuration, or ended while it was measured; another one may do."""


class RecorderRefused(EnvironmentLacks):
    """This vLLM does not take the recorder: no configuration can be profiled."""


@dataclass(frozen=True)
class RecordedService:
    """A service that is ready. `told`: vLLM's version and the limits of its scheduler, as the recorder reports them."""

    plan: ServicePlan
    child: Child
    log: LogFollower
    steps: Path
    told: dict[str, Any]


@asynccontextmanager
async def served(engine: Engine, order: ServiceOrder, settings: RunSettings) -> AsyncIterator[RecordedService]:
    """Starts it, and ends all of it however the block is left.

    Raises:
        NotServed: it did not start.
        RecorderRefused: it did not, or records nothing, because of the recorder.
        EnvironmentLacks: the port is taken, or something else is missing on this machine.
    """
    plan, place = engine.plan(order), order.workplace
    if plan.command is None:
        raise InvalidConfiguration("nothing is started here", hint="`profile` starts the service itself")
    command = with_recorder(plan.command, place.directory / "steps", place.environment.get("PYTHONPATH", ""))
    if plan.listens_on is not None:
        ensure_free(*plan.listens_on)
    log = place.directory / LOG
    memory = await memory_in_use(place.environment)
    child = await spawn(
        command,
        environment=place.environment,
        working_directory=place.working_directory,
        launch_id=os.urandom(16).hex(),
        output=log,
    )
    try:
        follower = LogFollower(log)
        outcome = await ready(
            plan.ready,
            follower=follower,
            child=child,
            limit=settings.limits.launch,
            patterns=settings.service_errors,
            snippet_length=settings.measuring.log_snippet_length,
            http_limit=settings.limits.http,
        )
        if not outcome.ready:
            _refuse_recorder(log)
            raise NotServed(f"the service did not start: {outcome.reason}", hint=f"its log: {log}")
        steps = _recording(place.directory, log)
        yield RecordedService(plan, child, follower, steps, _limits(Path(f"{steps}.json")))
    finally:
        await stop(child, grace=settings.limits.stop, stop_command=plan.stop)
        await wait_until_released(memory, place.environment, limit=settings.limits.device_memory)


def with_recorder(command: Command, steps: Path, python_path: str) -> Command:
    """The service with the recorder as its scheduler.

    Raises:
        InvalidConfiguration: it has another scheduler class already.
    """
    if any(flag_of(word, SPELLINGS) == FLAG for word in command.argv):
        raise InvalidConfiguration(f"{FLAG} is given already", hint=f"remove it: `profile` gives {FLAG} {FACTORY}")
    others = command.environment.get("PYTHONPATH", python_path)
    added = {
        "PYTHONPATH": os.pathsep.join(filter(None, (str(DIRECTORY), others))),
        recorder.STEPS: str(steps),
    }
    return replace(
        command,
        argv=(*command.argv, FLAG, FACTORY),
        measuring_environment={**command.measuring_environment, **added},
    )


def _limits(path: Path) -> Any:
    try:
        return json_value(content(path, LARGEST_CONFIGURATION))
    except ValueError as error:
        raise NotServed(
            f"{path}, which the recorder wrote, is not JSON: {error}", hint="see what else wrote it"
        ) from error


def complaint(log: Path) -> str:
    """What the service's log says about the recorder; empty: nothing."""
    name = FACTORY.partition(".")[0]
    try:
        said = plain(tail(log, LOOKED_THROUGH).decode(errors="replace"))
    except FileNotFoundError:
        return ""
    for line in said.splitlines():
        blames = f"{name}: stopped" in line or ("rror" in line and (FLAG in line or name in line))
        if blames:
            return line.strip()
    return ""


def _refuse_recorder(log: Path) -> None:
    if found := complaint(log):
        raise RecorderRefused(f"this vLLM does not take the recorder: {found}", hint=f"{TRIED}; the log: {log}")


def _recording(directory: Path, log: Path) -> Path:
    """The steps of the one engine."""
    _refuse_recorder(log)
    told = sorted(directory.glob("steps.*.json"))
    if not told:
        raise RecorderRefused(
            f"the service is ready, and its scheduler was not the recorder (no {directory}/steps.PID)",
            hint=f"`program` must hand PYTHONPATH, {recorder.STEPS} and {FLAG} to vLLM on this machine; {TRIED}",
        )
    if len(told) > 1:
        raise InvalidConfiguration(
            f"{len(told)} engines serve together, but the simulation models only one",
            hint="profile it without data parallelism",
        )
    return told[0].with_suffix("")
