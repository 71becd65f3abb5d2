"""Who supervises a launch: a file that is locked while the supervisor lives, and marked when it must not live any more.

Part of the supervisor's process: standard library only.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from serviceopt_journal.foreign_text import whole_number
from serviceoptd.engines.mindie_kubernetes.cluster import Failed

STOPPED = b"stopped\n"


@contextlib.contextmanager
def held(path: Path) -> Iterator[bool]:
    """Holds the launch while the block runs. False: it was stopped before it began, or is being stopped."""
    with _opened(path) as descriptor:
        if not _taken(descriptor) or os.pread(descriptor, 64, 0) == STOPPED:
            yield False
            return
        _write(descriptor, f"{os.getpid()}\n".encode())
        yield True


@contextlib.contextmanager
def refused(path: Path) -> Iterator[None]:
    """Lets nobody hold the launch from now on. Call it when nobody does."""
    with _opened(path) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        _write(descriptor, STOPPED)
        yield


async def end_holder(path: Path, limit: float) -> bool:
    """Sends SIGTERM to who holds the launch, and waits for its end. Whether there was anybody.

    Raises:
        Failed: it did not end within `limit` seconds.
    """
    begun = time.monotonic()
    asked: set[int] = set()
    with _opened(path) as descriptor:
        while not _taken(descriptor):
            if (pid := _pid(descriptor)) is not None and pid not in asked:
                asked.add(pid)
                _ask(pid, descriptor)
            if time.monotonic() - begun >= limit:
                raise Failed(f"the supervisor did not end within {limit:g} s")
            await asyncio.sleep(0.02)
        _write(descriptor, STOPPED)  # before the lock is given up: nobody may come in between
    return bool(asked)


def _ask(pid: int, descriptor: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        process = os.pidfd_open(pid)
        try:
            # Still held and still this number: so the descriptor is the holder's, and not of a process that came after.
            if not _taken(descriptor) and _pid(descriptor) == pid:
                signal.pidfd_send_signal(process, signal.SIGTERM)
        finally:
            os.close(process)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _pid(descriptor: int) -> int | None:
    text = os.pread(descriptor, 64, 0).decode(errors="replace").strip()
    return whole_number(text)


def _write(descriptor: int, content: bytes) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, content, 0)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    # O_CLOEXEC: a script that inherited the descriptor would hold the lock for us
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
