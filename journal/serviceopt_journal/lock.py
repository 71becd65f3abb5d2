"""One writer: a `flock` that is held for the life of the process, in a file that names its holder."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Self

from .errors import EnvironmentLacks, JournalLocked
from .failures import explain, passes
from .foreign_text import whole_number

FILE_NAME = "journal.lock"


class WriterLock:
    """The right to write the journal of one directory. Ends with the process, however it ends."""

    def __init__(self, path: Path, descriptor: int, created: bool) -> None:
        self._path = path
        self._descriptor = descriptor
        self._created = created

    @classmethod
    def acquire(cls, directory: Path) -> Self:
        """Takes the lock without waiting, and without changing what the file says.

        Raises:
            JournalLocked: another process has it; the message names that process.
            EnvironmentLacks: the directory cannot be written by this user.
            JournalFull, JournalUnreadable: the file cannot be made or opened now.
        """
        path = directory / FILE_NAME
        while True:
            try:
                created = not path.exists()
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
            except OSError as error:
                if passes(error):
                    raise explain(error) from error
                raise EnvironmentLacks(
                    f"{path} cannot be opened for writing: {error.strerror}",
                    hint="run as the user that owns the state directory, or set SERVICEOPT_STATE_DIR",
                ) from error
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                holder = _holder(descriptor)
                os.close(descriptor)
                raise JournalLocked(
                    f"the journal in {directory} is being written by {holder}",
                    hint="stop it first, or choose another state directory with SERVICEOPT_STATE_DIR",
                ) from error
            except OSError as error:
                os.close(descriptor)
                raise EnvironmentLacks(
                    f"{path} cannot be locked: {error.strerror}",
                    hint="choose a state directory on a local disk with SERVICEOPT_STATE_DIR",
                ) from error
            # A refused opening may have removed the file that it had created, between our open and our flock.
            if _is_the_file(path, descriptor):
                return cls(path, descriptor, created)
            os.close(descriptor)

    def sign(self) -> None:
        """Names this process in the file, for the next one that wants the lock; where it cannot, the lock holds as well."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()} {_command(os.getpid())}\n".encode(), 0)

    def release(self) -> None:
        """Gives the lock back after orderly work; the file no longer names anybody."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)

    def withdraw(self) -> None:
        """Gives the lock back as if it had never been taken: the directory is as it was before."""
        if self._created:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


def _holder(descriptor: int) -> str:
    try:
        pid, _, command = os.pread(descriptor, 4096, 0).decode(errors="replace").strip().partition(" ")
    except OSError:
        return "another process"
    # What a killed writer left there must not be taken for the present holder, who may not have signed yet.
    if (number := whole_number(pid)) is not None and _command(number) == command:
        return f"process {pid} ({command})"
    return "another process"


def _command(pid: int) -> str:
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    return " ".join(argument.decode(errors="replace") for argument in arguments if argument)[:200].strip()


def _is_the_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
    except OSError as error:
        os.close(descriptor)
        if passes(error):
            raise explain(error) from error
        raise EnvironmentLacks(
            f"{path} cannot be looked at: {error.strerror}", hint="check the permissions of the state directory"
        ) from error
