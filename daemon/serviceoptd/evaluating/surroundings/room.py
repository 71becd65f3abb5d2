"""Whether what every attempt needs is there now: room to write, inodes, file descriptors."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from serviceoptd.toolkit.interface import Workplace

LEAST, SHARE = 1024 * 1024, 64
"""Less room than so many bytes, or than this part of a small file system (1/64), is none."""
DESCRIPTORS = 8
"""A process and the pipes to it take about so many at once."""
_CACHES = ("TMPDIR", "XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "VLLM_CACHE_ROOT", "TRITON_CACHE_DIR",
           "TORCHINDUCTOR_CACHE_DIR", "HOME")  # fmt: skip
"""Variables that name where engines and clients write beside their own directory."""
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - of it an engine needs more or less by its parameters: a result


@dataclass(frozen=True)
class Places:
    """Directories that must have room: ours at any time, a child's only where it was there when the attempt began."""

    ours: tuple[Path, ...]
    childs: tuple[Path, ...] = ()


def our_places(state_directory: Path) -> Places:
    """The directories without which nothing can be done at all."""
    return Places((state_directory, Path(os.environ.get("TMPDIR") or "/tmp")))  # noqa: S108 - only looked at


def places_of(state_directory: Path, workplace: Workplace, environment: Mapping[str, str]) -> Places:
    """Ours, and those of a child with this environment that have room now."""
    named = [Path(environment[name]) for name in _CACHES if environment.get(name, "").startswith("/")]
    found = dict.fromkeys(map(_existing, (workplace.working_directory, *named)))
    childs = (each for each in found if not each.is_relative_to(_SHARED_MEMORY) and not no_room(each))
    return Places(our_places(state_directory).ours, tuple(childs))


def lacking(places: Places) -> str:
    """What is lacking now, for people; empty where nothing is."""
    ours = (_read_only(place) or no_room(place) for place in places.ours)
    return next(filter(None, (*ours, *map(no_room, places.childs), no_descriptors())), "")


def no_room(place: Path) -> str:
    """Says that nothing can be written there for want of bytes or inodes; empty where it can, or is not known."""
    try:
        found = os.statvfs(place)
    except OSError:
        return ""
    # What is reserved for root is there for root.
    blocks, inodes = (found.f_bfree, found.f_ffree) if os.geteuid() == 0 else (found.f_bavail, found.f_favail)
    free, size = blocks * found.f_frsize, found.f_blocks * found.f_frsize
    if size and free < min(LEAST, size / SHARE):
        return f"no room in {place}: {free} of {size} bytes are free"
    if found.f_files and not inodes:
        return f"no room in {place}: its file system has no inode left"
    return ""


def no_descriptors() -> str:
    """Says that the process, or the system, has no file descriptors left; empty where it has."""
    opened: list[int] = []
    try:
        while len(opened) < DESCRIPTORS:
            opened.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return f"no file descriptors are left: {error.strerror}" if error.errno in (errno.EMFILE, errno.ENFILE) else ""
    finally:
        for each in opened:
            os.close(each)
    return ""


def _read_only(place: Path) -> str:
    try:
        read_only = os.statvfs(place).f_flag & os.ST_RDONLY
    except OSError:
        return ""
    return f"{place} has become read-only" if read_only else ""


def _existing(path: Path) -> Path:
    return next((each for each in (path, *path.parents) if each.exists()), path)
