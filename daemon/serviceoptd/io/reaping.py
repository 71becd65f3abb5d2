"""Ending everything that a launch left behind. Never by name, never a process without a sign of that launch."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

from serviceopt_journal.errors import EnvironmentLacks

from . import cgroups
from .launched_processes import Launch
from .process_table import ProcessHandle

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.002, 0.05
_EMPTYING = 10.0  # seconds in which the kernel may finish what has ended


class ProcessesLeft(EnvironmentLacks):
    """Processes of a launch survive SIGKILL, as they do while a device driver hangs."""

    def __init__(self, pids: tuple[int, ...], limit: float) -> None:
        super().__init__(
            f"processes {', '.join(map(str, pids))} did not end within {limit:g} s of being killed",
            hint="look at their state (ps -o pid,stat,wchan,cmd); D means that a driver hangs, often until a reboot",
        )
        self.pids = pids


async def reap(
    launch_id: str,
    cgroup: Path | None = None,
    *,
    output: Path | None = None,
    grace: float = 2.0,
    limit: float = 30.0,
) -> tuple[int, ...]:
    """Ends whatever is left of a launch of an earlier daemon, and removes its cgroup. Returns the pids it ended.

    `output` is the launch's own output file: the only sign left of a process that has wiped its environment, where
    there is no cgroup. Each process gets SIGTERM, and SIGKILL after `grace` seconds.

    Raises:
        ProcessesLeft: some still live `limit` seconds after the first SIGKILL was due.
    """
    ended = await end(Launch(launch_id, cgroup, output), grace=grace, limit=limit)
    return ended + await end(Launch(stop_command_id(launch_id)), grace=grace, limit=limit)


def stop_command_id(launch_id: str) -> str:
    """The launch id of the command that stops this launch."""
    return f"{launch_id}-stop"


async def end(launch: Launch, *, grace: float, limit: float = 30.0, asked_group: int | None = None) -> tuple[int, ...]:
    """Ends the processes of any launch, as `reap` does.

    Processes of `asked_group` have had their SIGTERM already and get no second one.
    """
    begun = time.monotonic()
    ended: list[int] = []
    asked: set[tuple[int, int]] = set()
    pause = _SHORTEST_PAUSE
    while found := launch.processes():
        try:
            waited = time.monotonic() - begun
            if waited > grace + limit:
                raise ProcessesLeft(tuple(handle.pid for handle in found), limit)
            if waited >= grace:
                _kill(launch, found)
            for handle in found:
                key = (handle.pid, handle.started)
                if key in asked:
                    continue
                asked.add(key)
                ended.append(handle.pid)
                if handle.group != asked_group:
                    handle.signal(signal.SIGTERM)
            await _ended(found, pause)
        finally:
            for handle in found:
                handle.close()
        pause = min(2 * pause, _LONGEST_PAUSE)
    if launch.cgroup is not None:
        await _removed(launch.cgroup)
    return tuple(ended)


def kill_now(launch: Launch) -> None:
    """SIGKILL to all of a launch without waiting: for a caller that was cancelled and must not leave anything."""
    for _ in range(10):  # each round finds what was forked during the one before
        found = launch.processes()
        if not found:
            return
        _kill(launch, found)
        for handle in found:
            handle.close()


def _kill(launch: Launch, found: list[ProcessHandle]) -> None:
    if launch.cgroup is not None:
        cgroups.kill(launch.cgroup)
    for handle in found:
        handle.signal(signal.SIGKILL)


async def _removed(cgroup: Path) -> None:
    """Removes the cgroup as soon as the kernel lets us.

    A process whose first thread has ended counts as ended, while its other threads may still be giving back gigabytes.
    """
    until = time.monotonic() + _EMPTYING
    while not cgroups.remove(cgroup) and time.monotonic() < until:
        await asyncio.sleep(_LONGEST_PAUSE)


async def _ended(handles: list[ProcessHandle], limit: float) -> None:
    """Waits until all have ended, `limit` seconds at most."""
    until = time.monotonic() + limit
    while time.monotonic() < until and not all(handle.ended for handle in handles):
        await asyncio.sleep(_SHORTEST_PAUSE)
