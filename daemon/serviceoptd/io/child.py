"""A started process, and what is known of it while it runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from serviceopt_journal.foreign_files import MIB, UnfitFile, hollow

from . import reaping
from .launched_processes import Launch
from .process_table import ProcessHandle

_WITHOUT_PIDFD = 0.02  # seconds between two looks where the kernel does not tell of an end
_LOOK_AT_OUTPUT = 0.5  # seconds between two looks at how much of the disk an output takes
_LARGEST_OUTPUT = 256 * MIB  # bytes of the disk
_KEPT_OF_OUTPUT = 32 * MIB  # at its beginning, and at its end: as much as is kept among the artefacts
_UNKNOWN = 255  # exit status of a child that somebody else's code in this process waited for


@dataclass(frozen=True)
class Surroundings:
    """What a child was started in; its stop command is started in the same."""

    environment: Mapping[str, str]
    working_directory: Path
    output: Path
    directory: Path


class OutputLimit:
    """Gives the middle of an output back to the disk whenever it takes too much, whatever the process does, until `end`.

    On file systems that can make holes; what was left out is said in its place. In a thread: the loop does not wait for it.
    """

    def __init__(self, output: Path) -> None:
        self._output = output
        self._loop = asyncio.get_running_loop()
        self._shortening = False
        self._next = self._loop.call_later(_LOOK_AT_OUTPUT, self._look)

    def end(self) -> None:
        """Looks at it no more."""
        self._next.cancel()

    def _look(self) -> None:
        self._next = self._loop.call_later(_LOOK_AT_OUTPUT, self._look)
        try:
            taken = os.lstat(self._output).st_blocks * 512
        except OSError:
            return
        if taken > _LARGEST_OUTPUT and not self._shortening:
            self._shortening = True
            self._loop.run_in_executor(None, self._shorten)

    def _shorten(self) -> None:
        try:
            self._shortening = not hollow(self._output, _KEPT_OF_OUTPUT, _KEPT_OF_OUTPUT)  # it never will
        except (OSError, UnfitFile):
            self._shortening = False


class Child:
    """A started process and what belongs to it. Made by `processes.spawn`; each one needs `processes.stop`.

    A child that has ended stays a zombie until then: so its pid and process group cannot become somebody else's.
    """

    def __init__(self, popen: subprocess.Popen[bytes], launch: Launch, surroundings: Surroundings) -> None:
        self.pid = popen.pid
        self.started: float = psutil.Process(popen.pid).create_time()  # seconds since the epoch
        self.surroundings = surroundings
        self._popen = popen
        self._handle = ProcessHandle(popen.pid)
        # Nothing that this child starts can be older than itself.
        self.launch = replace(launch, not_before=self._handle.started)
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        self._abandoned = False
        self._limit = OutputLimit(surroundings.output)
        if self._handle.descriptor is not None:
            self._loop.add_reader(self._handle.descriptor, self._look)
        else:
            self._loop.call_soon(self._look)

    async def wait(self) -> int:
        """The exit status, as soon as it has ended; negative: the signal that ended it. May be awaited many times."""
        return await asyncio.shield(self._ended)

    @property
    def exit_status(self) -> int | None:
        """The exit status, without waiting for it: None while it runs."""
        if self._ended.done():
            return self._ended.result()
        try:
            # WNOWAIT: the zombie goes on guarding the pid.
            found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return _UNKNOWN
        if found is None:
            return None
        return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status

    @property
    def alive(self) -> bool:
        """Whether the process still runs. Other processes of its launch may run on after it."""
        return self.exit_status is None

    def _look(self) -> None:
        status = self.exit_status
        if status is None:
            if self._handle.descriptor is None:
                self._loop.call_later(_WITHOUT_PIDFD, self._look)
            return
        if self._handle.descriptor is not None:
            self._loop.remove_reader(self._handle.descriptor)
        self._ended.set_result(status)
        if self._abandoned:
            self.release()

    def signal_group(self, number: int) -> None:
        """Signals the process group, if the pid is still this process. Needs no descriptor, of which there may be none."""
        try:
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:  # waited for: the number may be somebody else's
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def release(self) -> None:
        """Gives up the pid of a child that has ended. From here on the number may be somebody else's."""
        self._limit.end()
        self._popen.poll()
        self._handle.close()

    def abandon(self) -> None:
        """SIGKILL to all of it without waiting; it is released when it has ended. For a caller that was cancelled."""
        self._abandoned = True
        with contextlib.suppress(OSError):  # of somebody else's, perhaps: then by the signs of the launch
            self.signal_group(signal.SIGKILL)
        with contextlib.suppress(OSError):  # without descriptors nothing else can be found; recovery looks again
            reaping.kill_now(self.launch)
        if self._ended.done():
            self.release()
