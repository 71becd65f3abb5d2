"""Tries, by effect, what `needs` asks for. Run as a program inside a unit's sandbox, under its user.

Reads one JSON object on standard input (`read`, `write`, `enter`, `devices`: lists of paths) and prints one with the
reason for each path that cannot be used (path -> text, by kind), and who tried with which limits. Changes nothing.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

FILES_TRIED = 2000  # of a directory: enough for every model, and bounded for a mistaken path

_ALLOWED = frozenset({errno.ENXIO, errno.ENODEV, errno.EIO, errno.EBUSY, errno.EINVAL})
"""Refusals by a driver: the device could be opened as far as permissions go."""


def tried(wanted: dict[str, list[str]]) -> dict[str, Any]:
    """The refusals by kind, and this process's identity and limits."""
    kinds: dict[str, Callable[[Path], str]] = {"read": read, "write": write, "enter": enter, "devices": device}
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    locked, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return {
        "refused": {
            kind: {path: reason for path in wanted.get(kind, []) if (reason := attempt(Path(path)))}
            for kind, attempt in kinds.items()
        },
        "uid": os.geteuid(),
        "groups": sorted({os.getegid(), *os.getgroups()}),
        "open_files": soft,
        "locked_memory": locked if locked != resource.RLIM_INFINITY else -1,
        "caches": {name: os.environ[name] for name in ("HOME", "XDG_CACHE_HOME") if os.environ.get(name)},
        "caches_refused": {
            name: reason
            for name in ("HOME", "XDG_CACHE_HOME")
            if (reason := write(Path(os.environ.get(name) or "/nonexistent")))
        },
    }


def read(path: Path) -> str:
    """Why the file, or a file of the directory, cannot be read; empty when it can."""
    try:
        if not path.is_dir():
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
            return ""
        for entry in _files(path):
            if stat.S_ISREG(entry.stat().st_mode):
                os.close(os.open(entry, os.O_RDONLY))
    except OSError as error:
        return _reason(error, path)
    return ""


def _files(directory: Path) -> Iterator[Path]:
    pending, count = [directory], 0
    while pending and count < FILES_TRIED:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                count += 1
                if entry.is_dir(follow_symlinks=False):
                    pending.append(Path(entry.path))
                elif not entry.name.endswith((".lock", ".pyc")) and Path(entry.path).exists():
                    yield Path(entry.path)


def write(path: Path) -> str:
    """Why the file or directory cannot be written; empty when it can. Nothing is written to find out."""
    try:
        wanted = os.W_OK | os.R_OK | (os.X_OK if stat.S_ISDIR(path.stat().st_mode) else 0)
        if os.access(path, wanted, effective_ids=True):
            return ""
        read_only = os.statvfs(path).f_flag & os.ST_RDONLY
    except OSError as error:
        return _reason(error, path)
    return "read-only here" if read_only else "permission denied"


def enter(path: Path) -> str:
    """Why a process cannot start in the directory; empty when it can."""
    try:
        os.chdir(path)
    except OSError as error:
        return _reason(error, path)
    return ""


def device(path: Path) -> str:
    """Why the device cannot be opened; empty when it can, or when only its driver says no."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))
    except OSError as error:
        return "" if error.errno in _ALLOWED else _reason(error, path)
    return ""


def _reason(error: OSError, path: Path) -> str:
    at = f" ({error.filename})" if error.filename and str(error.filename) != str(path) else ""
    return f"{os.strerror(error.errno or 0).lower()}{at}"


def main() -> None:
    """Reads questions on the standard input, and answers on the standard output."""
    json.dump(tried(json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main()
