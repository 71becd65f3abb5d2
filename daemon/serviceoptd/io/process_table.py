"""What the kernel says of processes, and a handle that a recycled pid cannot fool (Linux, proc(5))."""

from __future__ import annotations

import errno
import os
import select
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

_PROC = Path("/proc")
BLIND = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Errors that say nothing of the process or service that is looked at: it must not be taken for gone."""


@dataclass(frozen=True)
class ProcessStat:
    """A process at one moment. `started`: clock ticks since the boot."""

    pid: int
    state: str
    parent: int
    group: int
    threads: int
    started: int

    @property
    def dead(self) -> bool:
        """Ended, though perhaps not waited for. A leading thread that ended before its others also shows as Z."""
        return self.state in "ZXx" and self.threads <= 1


def stat(pid: int) -> ProcessStat | None:
    """What /proc/PID/stat tells; None when there is no such process."""
    try:
        text = (_PROC / str(pid) / "stat").read_bytes()
    except OSError as error:
        _refuse_blindness(error)
        return None
    # The name in parentheses may itself hold spaces and parentheses: count from the last one.
    fields = text[text.rindex(b")") + 2 :].split()
    return ProcessStat(
        pid=pid,
        state=fields[0].decode(),
        parent=int(fields[1]),
        group=int(fields[2]),
        threads=int(fields[17]),
        started=int(fields[19]),
    )


def living() -> dict[int, ProcessStat]:
    """Every process that can be seen, zombies left out, by pid."""
    stats = (stat(int(name)) for name in os.listdir(_PROC) if name.isdigit())  # noqa: PTH208 - names only, often
    return {found.pid: found for found in stats if found is not None and not found.dead}


def computed(pid: int) -> float:
    """Seconds of processor time that a process and those that descend from it have used so far; 0 where it has ended."""
    spent = 0.0
    with suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with suppress(psutil.Error):  # it ended meanwhile
                spent += sum(process.cpu_times()[:2])  # of the user and of the system
    return spent


def has_in_environment(pid: int, entry: bytes) -> bool:
    """Whether the environment that the process was started with has exactly this `NAME=value`."""
    content = _read(_PROC / str(pid) / "environ")
    if not content:
        # Once the leading thread has ended only the others still show the environment.
        tasks = _PROC / str(pid) / "task"
        try:
            content = next(filter(None, (_read(task / "environ") for task in tasks.iterdir())), b"")
        except OSError as error:
            _refuse_blindness(error)
            return False
    return entry in content.split(b"\0")


def prints_to(pid: int, output: os.stat_result) -> bool:
    """Whether standard output or standard error of the process is this file."""
    for number in (1, 2):
        try:
            found = (_PROC / str(pid) / "fd" / str(number)).stat()
        except OSError:
            continue
        if (found.st_dev, found.st_ino) == (output.st_dev, output.st_ino):
            return True
    return False


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:  # ended meanwhile, or of somebody whose environment is not ours to see
        _refuse_blindness(error)
        return b""


def _refuse_blindness(error: OSError) -> None:
    if error.errno in BLIND:
        raise error


class ProcessHandle:
    """One process, and never another one that got its pid later.

    Uses a pidfd; where the kernel or a sandbox refuses those, the start time is compared before each signal.

    Raises:
        ProcessLookupError: there is no such process.
    """

    def __init__(self, pid: int) -> None:
        found = stat(pid)
        if found is None:
            raise ProcessLookupError(pid)
        self.pid = pid
        self.started = found.started
        self.group = found.group
        self.descriptor = _open_pidfd(pid)
        try:
            if not self._is_the_same():
                raise ProcessLookupError(pid)
        except OSError:
            self.close()
            raise

    def _is_the_same(self) -> bool:
        now = stat(self.pid)
        return now is not None and now.started == self.started

    @property
    def ended(self) -> bool:
        """Whether the process has ended, waited for or not."""
        if self.descriptor is not None:
            poll = select.poll()
            poll.register(self.descriptor, select.POLLIN)
            return bool(poll.poll(0))
        now = stat(self.pid)
        return now is None or now.started != self.started or now.dead

    def signal(self, number: int) -> bool:
        """Sends a signal; False when the process is gone already or is not ours to signal."""
        try:
            if self.descriptor is not None:
                signal.pidfd_send_signal(self.descriptor, number)
            elif self._is_the_same():
                os.kill(self.pid, number)
            else:
                return False
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def close(self) -> None:
        """Gives the descriptor back; the process is not touched."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


def _open_pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        raise
    except (AttributeError, OSError):  # not in this Python, before Linux 5.3, or behind a seccomp filter
        return None
