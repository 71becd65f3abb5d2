"""A control group of its own for each launch, where systemd gives us a part of the tree (cgroup v2 only).

A cgroup is ours when systemd says so: it marks a unit's cgroup with the extended attribute `user.delegate` (or
`trusted.delegate`, which only root can read) = 1 under `Delegate=yes`. `SERVICEOPT_CGROUP=1` in the daemon's
environment says the same, for a systemd that does not set the attribute. Being able to write a cgroup is not enough:
so can a user's terminal, and root anywhere, where only somebody else (systemd, a container runtime) may arrange it.

Only directories named `launch-<launch id>` are ever killed or removed.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Mapping
from pathlib import Path

from serviceopt_journal.errors import EnvironmentLacks

from .process_table import ProcessHandle

_LEAF = "daemon"
_LAUNCH = re.compile(r"launch-[A-Za-z0-9-]+")
_ATTRIBUTES = ("user.delegate", "trusted.delegate")


def prepare(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Our delegated cgroup, after moving ourselves into its leaf `daemon`; None where nothing is delegated to serviceopt.

    The leaf keeps the delegated cgroup itself empty, as cgroup v2 demands before controllers can be enabled below it.
    """
    own = own_cgroup()
    if own is None:
        return None
    already_inside = own.name == _LEAF and is_delegated(own.parent, environment)
    if already_inside:
        return own.parent
    if not is_delegated(own, environment):
        return None
    leaf = own / _LEAF
    try:
        leaf.mkdir(exist_ok=True)
        (leaf / "cgroup.procs").write_text(f"{os.getpid()}\n", encoding="ascii")
    except OSError:  # mounted read-only, or delegated on paper only
        return None
    return own


def own_cgroup(proc: Path = Path("/proc/self")) -> Path | None:
    """The directory of this process's cgroup in the v2 hierarchy; None where there is none."""
    try:
        memberships = (proc / "cgroup").read_text(encoding="utf-8").splitlines()
        mounts = (proc / "mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    inside = next((line[3:] for line in memberships if line.startswith("0::/")), None)
    if inside is None:
        return None
    for line in mounts:
        # ID PARENT MAJOR:MINOR ROOT MOUNTPOINT OPTIONS [TAGS...] - TYPE SOURCE OPTIONS (proc(5))
        before, _, after = line.partition(" - ")
        if not after.startswith("cgroup2 "):
            continue
        root, mount_point = before.split()[3:5]
        try:
            return Path(mount_point) / Path(inside).relative_to(root)
        except ValueError:  # the mount shows another part of the tree
            continue
    return None


def is_delegated(cgroup: Path, environment: Mapping[str, str]) -> bool:
    """Whether systemd, or the environment on its behalf, gave us this cgroup, and we can write it."""
    said = environment.get("SERVICEOPT_CGROUP") == "1" or any(_attribute(cgroup, name) == b"1" for name in _ATTRIBUTES)
    return said and os.access(cgroup, os.W_OK) and os.access(cgroup / "cgroup.procs", os.W_OK)


def _attribute(cgroup: Path, name: str) -> bytes:
    try:
        return os.getxattr(cgroup, name)
    except OSError:
        return b""


def path_of(root: Path, launch_id: str) -> Path:
    """Where `create` makes the cgroup of this launch: known before, so that it can be announced before."""
    name = f"launch-{launch_id}"
    if not _LAUNCH.fullmatch(name):
        raise ValueError(f"not a launch id: {launch_id!r}")
    return root / name


def create(root: Path, launch_id: str) -> Path:
    """Makes the cgroup of this launch.

    Raises:
        EnvironmentLacks: the kernel refuses, for instance since the delegation was taken back.
    """
    cgroup = path_of(root, launch_id)
    try:
        cgroup.mkdir(exist_ok=True)
    except OSError as error:
        raise EnvironmentLacks(
            f"the control group {cgroup} cannot be made: {error.strerror}",
            hint="the unit needs Delegate=yes; restart the service after changing it",
        ) from error
    return cgroup


def is_launch(cgroup: Path) -> bool:
    """Whether this is an existing cgroup of a launch of ours, so that ending what is in it is right."""
    return bool(_LAUNCH.fullmatch(cgroup.name)) and (cgroup / "cgroup.procs").is_file()


def processes(cgroup: Path) -> tuple[int, ...]:
    """The pids in a launch's cgroup and below it; empty when it does not exist."""
    if not is_launch(cgroup):
        return ()
    found: set[int] = set()
    for directory in _tree(cgroup):
        with contextlib.suppress(OSError):  # removed meanwhile
            found.update(map(int, (directory / "cgroup.procs").read_text(encoding="ascii").split()))
    found.discard(0)  # a process of a pid namespace that we cannot see
    return tuple(sorted(found))


def kill(cgroup: Path) -> None:
    """Sends SIGKILL to everything in a launch's cgroup at once, forks in progress included (Linux 5.14+)."""
    if not is_launch(cgroup):
        return
    try:
        (cgroup / "cgroup.kill").write_text("1", encoding="ascii")
    except OSError:  # an older kernel: one by one; the caller looks again for those that were forked meanwhile
        for pid in processes(cgroup):
            with contextlib.suppress(ProcessLookupError):
                handle = ProcessHandle(pid)
                if pid in processes(cgroup):
                    handle.signal(signal.SIGKILL)
                handle.close()


def remove(cgroup: Path) -> bool:
    """Removes a launch's empty cgroup and those below it; False when something still lives in it."""
    if not is_launch(cgroup):
        return not cgroup.exists()
    for directory in sorted(_tree(cgroup), key=lambda path: len(path.parts), reverse=True):
        try:
            directory.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True


def _tree(cgroup: Path) -> list[Path]:
    return [Path(directory) for directory, _, _ in os.walk(cgroup)]
