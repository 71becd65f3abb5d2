"""The one module of the project that starts the children of a run, and stops them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from serviceopt_journal.errors import EnvironmentLacks, InvalidConfiguration
from serviceopt_journal.foreign_files import appending
from serviceopt_journal.foreign_files import replace as replace_file
from serviceoptd.toolkit.find_program import find_program
from serviceoptd.toolkit.interface import Command

from . import cgroups, reaping
from .child import Child, Surroundings
from .launched_processes import LAUNCH_ID, Launch

__all__ = ["LEFTOVER_GRACE", "Child", "Stopped", "spawn", "stop"]

LEFTOVER_GRACE = 2.0
"""Seconds from SIGTERM to SIGKILL for what outlives the leading process."""


@dataclass(frozen=True)
class Stopped:
    """How a child ended."""

    exit_status: int  # negative: the signal that ended it
    forced: bool  # it did not end in time and was killed
    seconds: float
    reaped: tuple[int, ...]  # pids that outlived it and were ended


async def spawn(
    command: Command,
    *,
    environment: Mapping[str, str],
    working_directory: Path,
    launch_id: str,
    output: Path,
    cgroup: Path | None = None,
    directory: Path | None = None,
) -> Child:
    """Starts a process without a shell, in a session of its own and, if given, in an existing cgroup.

    `environment` is the complete base; the command's own and SERVICEOPT_LAUNCH_ID are added. Standard output and error
    are appended to `output`, which only this launch may print to. The command's files are written below `directory`
    (default: the output's) before.

    Raises:
        EnvironmentLacks: the program, its directory or a permission is missing; nothing was started.
        InvalidConfiguration: the command wants to write outside its directory.
    """
    surroundings = Surroundings(environment, working_directory, output, directory or output.parent)
    _write_files(command.files, surroundings.directory)
    complete = {**environment, **command.environment, **command.measuring_environment, LAUNCH_ID: launch_id}
    place = working_directory / (command.working_directory or "")
    if not place.is_dir():
        raise EnvironmentLacks(
            f"the working directory {place} does not exist", hint="create it, or submit from another"
        )
    program = find_program(command.argv[0], complete, place)
    popen = _popen(program, command.argv, place, complete, output, cgroup)
    try:
        return Child(popen, Launch(launch_id, cgroup, output), surroundings)
    except BaseException:
        popen.kill()
        popen.wait()
        raise


def _popen(
    program: Path, argv: Sequence[str], place: Path, environment: Mapping[str, str], output: Path, cgroup: Path | None
) -> subprocess.Popen[bytes]:
    with contextlib.ExitStack() as opened:
        try:
            output.parent.mkdir(parents=True, exist_ok=True, mode=0o750)  # somebody may have removed it meanwhile
            log = appending(output)
            opened.callback(os.close, log)
            enter = None if cgroup is None else _entering(cgroup, opened)
            return subprocess.Popen(  # noqa: S603 - a list of words, without a shell
                argv,
                executable=program,
                cwd=place,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                close_fds=True,
                start_new_session=True,
                # Safe in spite of our threads: the function only writes to a descriptor opened before, so it takes no
                # lock that another thread may have held at the fork. Entering before the exec, nothing stays outside.
                preexec_fn=enter,  # noqa: PLW1509
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise EnvironmentLacks(
                f"{program} could not be started: {error}",
                hint="try it by hand as the same user: " + " ".join(argv),
            ) from error


def _entering(cgroup: Path, opened: contextlib.ExitStack) -> Callable[[], None]:
    descriptor = os.open(cgroup / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
    opened.callback(os.close, descriptor)
    write = os.write

    def enter() -> None:
        write(descriptor, b"0")  # 0: whoever writes

    return enter


def _write_files(files: Mapping[Path, bytes], directory: Path) -> None:
    for name, content in files.items():
        path = directory / name
        if not path.resolve().is_relative_to(directory.resolve()):
            raise InvalidConfiguration(
                f"a file to be written, {path}, is not below {directory}", hint="engines and clients write only there"
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, content)
        except OSError as error:
            raise EnvironmentLacks(
                f"{path} cannot be written: {error.strerror}", hint="make room, or let the daemon's user write there"
            ) from error


async def stop(
    child: Child, *, grace: float, cgroup: Path | None = None, stop_command: Command | None = None
) -> Stopped:
    """Ends a child and all that belongs to its launch; returns when nothing is left. Also for one that has ended.

    The stop command, or SIGTERM to the process group; after `grace` seconds SIGKILL; then whatever still belongs to the
    launch gets SIGTERM and, LEFTOVER_GRACE later, SIGKILL. The cgroup (default: the one it was started in) is removed.
    A child that somebody killed has its stop command run all the same.
    Cancelled, it kills all at once before it goes.

    Raises:
        ProcessesLeft: something survived SIGKILL for half a minute.
    """
    begun = time.monotonic()
    launch = child.launch if cgroup is None else replace(child.launch, cgroup=cgroup)
    try:
        was_killed = (child.exit_status or 0) < 0
        asked = child.alive and await _ask(child, grace, stop_command)
        if was_killed and stop_command is not None:
            # It could not end what it stood for, such as a container or pods: these are no processes of ours.
            await _stop_command_succeeds(child, grace, stop_command)
        forced = child.alive and not await _ends_within(child, begun + grace - time.monotonic())
        if forced:
            if launch.cgroup is not None:
                cgroups.kill(launch.cgroup)
            child.signal_group(signal.SIGKILL)
        leftover_grace = 0.0 if forced else LEFTOVER_GRACE
        reaped = await reaping.end(launch, grace=leftover_grace, asked_group=child.pid if asked else None)
        status = await child.wait()
    except BaseException:
        child.abandon()
        raise
    child.release()
    others = tuple(pid for pid in reaped if pid != child.pid)
    return Stopped(exit_status=status, forced=forced, seconds=time.monotonic() - begun, reaped=others)


async def _ask(child: Child, grace: float, stop_command: Command | None) -> bool:
    """Asks the child to end. Tells whether its process group has been sent SIGTERM."""
    if stop_command is not None and await _stop_command_succeeds(child, grace, stop_command):
        return False
    child.signal_group(signal.SIGTERM)
    return True


async def _stop_command_succeeds(child: Child, limit: float, stop_command: Command) -> bool:
    around = child.surroundings
    try:
        stopper = await spawn(
            stop_command,
            environment=around.environment,
            working_directory=around.working_directory,
            # An id and an output of its own: otherwise ending what the service leaves would end its stop command.
            launch_id=reaping.stop_command_id(child.launch.launch_id),
            output=around.output.with_name(around.output.name + ".stop"),
            directory=around.directory,
        )
    except EnvironmentLacks:
        return False  # then SIGTERM has to do; `problems` of the engine names the missing program before the launch
    try:
        in_time = await _ends_within(stopper, limit)
        stopped = await stop(stopper, grace=0.0)
    except BaseException:
        stopper.abandon()
        raise
    return in_time and stopped.exit_status == 0


async def _ends_within(child: Child, limit: float) -> bool:
    try:
        await asyncio.wait_for(child.wait(), max(0.0, limit))
    except TimeoutError:
        return False
    return True
