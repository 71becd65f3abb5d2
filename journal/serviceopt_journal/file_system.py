"""Where a journal may lie: on a local file system, whose locks and syncs mean what they say, and in files."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path, PurePosixPath

from .errors import EnvironmentLacks
from .foreign_files import must_be_file

_NETWORK = frozenset(
    {
        "9p", "acfs", "afs", "beegfs", "ceph", "cifs", "coda", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4",
        "ocfs2", "orangefs", "panfs", "pvfs2", "smb3", "smbfs", "vboxsf", "wekafs",
    }
)  # fmt: skip
_LOCAL_FUSE = frozenset({"fuse.fuse-overlayfs", "fuse.ntfs-3g", "fuse.bindfs"})

_OF_SQLITE = ("journal.db", "journal.db-wal", "journal.db-shm")
_WRITTEN_IN_PLACE = ("journal.lock", "journal.anchor", "journal.anchor.new")


def refuse_what_is_no_file(directory: Path) -> None:
    """Returns when a journal's files in `directory`, as far as there are any, are files.

    A pipe in the place of one is waited for without end. Through a link in the place of lock or anchor the file that it
    leads to would be emptied; the database may be linked.

    Raises:
        UnfitFile: one is something else.
        OSError: this machine cannot look now.
    """
    for name in _OF_SQLITE:
        must_be_file(directory / name, through_links=True)
    for name in _WRITTEN_IN_PLACE:
        must_be_file(directory / name)


def refuse_network_file_system(directory: Path, *, mountinfo: str | None = None) -> None:
    """Returns when `directory` (which exists, or whose parents do) lies on a local file system.

    Args:
        mountinfo: the text of /proc/self/mountinfo; None reads it.

    Raises:
        EnvironmentLacks: it lies on a network file system.
    """
    if mountinfo is None:
        mountinfo = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    place = PurePosixPath(directory.resolve())
    mount_point, kind = _mount_of(place, mountinfo)
    remote_fuse = (kind == "fuse" or kind.startswith("fuse.")) and kind not in _LOCAL_FUSE
    if kind in _NETWORK or remote_fuse:
        raise EnvironmentLacks(
            f"{place} lies on {mount_point}, a {kind} file system: a journal there could lose events",
            hint="set SERVICEOPT_STATE_DIR to a directory on a local disk",
        )


def sync_directory(directory: Path) -> None:
    """Returns when the names of the files in `directory` are on the disk.

    Raises:
        OSError: the directory cannot be opened or synced.
    """
    _sync(directory, os.O_DIRECTORY)


def sync_if_there(path: Path) -> None:
    """Returns when the content of this file is on the disk, whoever wrote it; at once where there is none.

    Raises:
        OSError: it cannot be opened or synced.
    """
    with contextlib.suppress(FileNotFoundError):
        _sync(path)


def _sync(path: Path, how: int = 0) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | how)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_way_to(directory: Path) -> None:
    """Returns when the names that lead to `directory` are on the disk, so that it cannot vanish whole.

    A directory above it that this user may not open is passed over.

    Raises:
        OSError: a directory above it cannot be synced.
    """
    device = directory.stat().st_dev
    for above in directory.resolve().parents:
        if above.stat().st_dev != device:
            return
        with contextlib.suppress(PermissionError):
            sync_directory(above)


def _mount_of(place: PurePosixPath, mountinfo: str) -> tuple[str, str]:
    """The mount point above `place` and its file system type; of several on one mount point the last counts."""
    found, kind, depth = "/", "", 0
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        if not separator:
            continue
        point = PurePosixPath(_unescape(before.split(" ")[4]))
        if place.is_relative_to(point) and len(point.parts) >= depth:
            found, kind, depth = str(point), after.split(" ")[0], len(point.parts)
    return found, kind


def _unescape(text: str) -> str:
    """The kernel writes blanks and backslashes of a mount point as three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), text)
