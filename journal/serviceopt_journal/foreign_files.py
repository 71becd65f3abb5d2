"""Reading files that other programs make: under any name may lie a pipe, a link, a device, or something without end.

Whoever is given the bytes waits for nothing and holds no more of them than was asked for. Only the last part of a path
is guarded: the directories above it are our own.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path

from .errors import EnvironmentLacks

MIB = 1024 * 1024
LARGEST_CONFIGURATION = 16 * MIB
"""Bytes of a file that a person writes, such as a configuration, or a model's description."""
_CHUNK = MIB
_KEEP_SIZE, _PUNCH_HOLE = 1, 2  # linux/falloc.h
_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISLNK, "a link"),
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_OF_THE_FILE = frozenset(
    {errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ENXIO, errno.EISDIR}
)
"""What the file itself, or its name, is to blame for. Any other error is this machine's: it is an OSError for the caller."""


class UnfitFile(EnvironmentLacks):
    """A file that another program made cannot be used: a pipe, a link, a device, a directory, too large, or closed to us."""


def opened(path: Path, *, through_links: bool = False) -> FileIO:
    """The file, open at its beginning and not buffered; opening it waits for nobody and has no effect on what it is.

    Args:
        path: where it should be.
        through_links: for a file that its user names, and may have linked.

    Raises:
        FileNotFoundError: nothing is there.
        UnfitFile: it is no regular file, or may not be read.
        OSError: this machine cannot read now.
    """
    return FileIO(_descriptor(path, os.O_RDONLY, "read", through_links=through_links), "rb")


def _descriptor(path: Path, how: int, done: str, *, through_links: bool = False) -> int:
    guarded = os.O_PATH | os.O_CLOEXEC | (0 if through_links else os.O_NOFOLLOW)
    try:
        # O_PATH first: the mere opening of a device or a pipe does something.
        found = os.open(path, guarded)
        try:
            mode = os.fstat(found).st_mode
            if not stat.S_ISREG(mode):
                raise UnfitFile(f"{path} is {_kind(mode)}, and not a file", hint="see which program made it")
            return os.open(f"/proc/self/fd/{found}", how | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        finally:
            os.close(found)
    except OSError as error:
        raise _blamed(path, error, done) from error


def must_be_file(path: Path, *, through_links: bool = False) -> None:
    """Returns where a regular file lies, or nothing.

    Raises:
        UnfitFile: something else does, which would be waited for, or written into.
        OSError: this machine cannot look now.
    """
    try:
        mode = path.stat(follow_symlinks=through_links).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise UnfitFile(f"{path} is {_kind(mode)}, and not a file", hint="see who made it, and remove it")


def content(path: Path, limit: int, *, through_links: bool = False) -> bytes:
    """All bytes of a file of at most `limit` bytes; of one that grows meanwhile, what is there when its end is reached.

    Raises:
        FileNotFoundError: nothing is there.
        UnfitFile: as `opened` says, or it is larger.
        OSError: this machine cannot read now.
    """
    with opened(path, through_links=through_links) as file:
        size = os.fstat(file.fileno()).st_size
        # A size of 0 is no promise: files of /proc have it, and others grow.
        found = _slice(file, 0, limit + 1) if size <= limit else b""
    if max(size, len(found)) > limit:
        raise UnfitFile(f"{path} is larger than {_bytes(limit)}", hint="see what wrote so much into it")
    return found


def tail(path: Path, size: int, *, begin: int = 0, through_links: bool = False) -> bytes:
    """The last `size` bytes at most, and nothing before byte `begin`.

    Raises:
        FileNotFoundError, UnfitFile, OSError: as `opened` says.
    """
    with opened(path, through_links=through_links) as file:
        end = os.fstat(file.fileno()).st_size
        return _slice(file, max(end - size, min(begin, end)), size)


def piece(path: Path, begin: int, size: int, *, through_links: bool = False) -> bytes:
    """At most `size` bytes from byte `begin` on.

    Raises:
        FileNotFoundError, UnfitFile, OSError: as `opened` says.
    """
    with opened(path, through_links=through_links) as file:
        return _slice(file, begin, size)


def lines(path: Path, limit: int, *, longest: int = MIB, through_links: bool = False) -> Iterator[bytes]:
    """The lines of a file of at most `limit` bytes, with their ends; the last one may lack it. One is held at a time.

    Raises:
        FileNotFoundError: nothing is there.
        UnfitFile: as `opened` says, it is larger, or one of its lines is longer than `longest` bytes.
        OSError: this machine cannot read now.
    """
    with opened(path, through_links=through_links) as file:
        left, rest = limit, b""
        while part := file.read(min(_CHUNK, longest)):
            left -= len(part)
            if left < 0:
                raise UnfitFile(f"{path} is larger than {_bytes(limit)}", hint="see what wrote so much into it")
            *whole, rest = (rest + part).split(b"\n")
            for line in whole:
                yield line + b"\n"
            if len(rest) > longest:
                raise UnfitFile(f"a line of {path} is longer than {_bytes(longest)}", hint="see which program made it")
        if rest:
            yield rest


def replace(path: Path, text: bytes) -> None:
    """Writes a new file under this name: what was there, such as a link or a pipe, is not written through.

    Raises:
        UnfitFile: a directory is there.
        OSError: this machine cannot write now.
    """
    try:
        path.unlink(missing_ok=True)
    except IsADirectoryError as error:
        raise UnfitFile(f"{path} is a directory, and not a file", hint="see which program made it") from error
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text)


def appending(path: Path) -> int:
    """A descriptor that appends to the file, which is made if it is not there; the caller closes it.

    Raises:
        UnfitFile: it is no regular file, or may not be written.
        OSError: this machine cannot open it now.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o640)
    except OSError as error:
        raise _blamed(path, error, "written") from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise UnfitFile(f"{path} is {_kind(mode)}, and not a file", hint="see which program made it")
    os.set_blocking(descriptor, True)
    return descriptor


def hollow(path: Path, first: int, last: int) -> bool:
    """Gives all but the first and the last so many bytes of a file back to the disk, and says so where they were.

    Whoever writes it goes on, and every offset in it stays what it is: the size is the same. False: this file system cannot.

    Raises:
        FileNotFoundError, UnfitFile, OSError: as `opened` says.
    """
    descriptor = _descriptor(path, os.O_WRONLY, "written")
    try:
        left_out = os.fstat(descriptor).st_size - first - last
        if left_out <= 0:
            return True
        fallocate = ctypes.CDLL(None, use_errno=True).fallocate
        fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
        if fallocate(descriptor, _PUNCH_HOLE | _KEEP_SIZE, first, left_out):
            return False
        os.pwrite(descriptor, b"\n[serviceopt: %d bytes were left out here]\n" % left_out, first)
        return True
    finally:
        os.close(descriptor)


def _blamed(path: Path, error: OSError, done: str) -> Exception:
    """The error as the file's own fault, where it is."""
    if error.errno not in _OF_THE_FILE:
        return error
    told = (error.strerror or type(error).__name__).lower()
    return UnfitFile(f"{path} cannot be {done}: {told}", hint="see which program made it")


def _slice(file: FileIO, begin: int, size: int) -> bytes:
    if begin:
        file.seek(begin)
    parts: list[bytes] = []
    # What is there is expected in one piece, so that a small file costs a small buffer.
    chunk = min(_CHUNK, max(os.fstat(file.fileno()).st_size - begin, 4095) + 1)
    while size > 0 and (part := file.read(min(chunk, size))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _kind(mode: int) -> str:
    return next((name for is_one, name in _KINDS if is_one(mode)), "something else")


def _bytes(count: int) -> str:
    return f"{count / MIB:.4g} MiB" if count >= MIB else f"{count} bytes"
