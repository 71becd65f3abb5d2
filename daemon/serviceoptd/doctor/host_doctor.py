"""What `serviceoptctl doctor` looks at whatever the configuration says: this machine, and the daemon's places on it.

Reads and asks, makes nothing and starts nothing but `nvidia-smi` and `npu-smi`, each within a time limit.
"""

from __future__ import annotations

import asyncio
import os
import platform
import resource
import shutil
import socket
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from serviceopt_journal.errors import EnvironmentLacks, ServiceoptError
from serviceopt_journal.file_system import refuse_network_file_system
from serviceopt_journal.places import Places
from serviceopt_journal.reader import JournalReader
from serviceoptd.doctor.finding import Finding, fail, ok, warn
from serviceoptd.doctor.needs import accelerators
from serviceoptd.domain.evolve import fold
from serviceoptd.domain.settings import Field
from serviceoptd.domain.state import State
from serviceoptd.io import process_table
from serviceoptd.io.cgroups import is_delegated, own_cgroup
from serviceoptd.io.devices import memory_in_use

GIBIBYTE = 1024**3
LITTLE_ROOM, NO_ROOM = 1.0, 0.05  # GiB free for journal, logs and results
ENOUGH_FILES = 4096  # open files; a benchmark client needs one for each request in flight, an engine hundreds
LITTLE_SHARED_MEMORY = 1.0  # GiB; workers of one engine exchange tensors through it


def versions() -> Iterator[Finding]:
    """Reports the versions of the interpreter and of SQLite."""
    yield ok("python", f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {platform.machine()}")


def state_directory(places: Places) -> Iterator[Finding]:
    """Whether the journal can be written, and has room."""
    nearest = _nearest(places.state)
    running = answers(places.socket)
    if not os.access(nearest, os.W_OK | os.X_OK):
        if running:
            yield ok("state directory", f"{places.state} is in use by the running daemon")
        else:
            yield fail(
                "state directory",
                f"{nearest} may not be written by this user",
                "use the daemon (`systemctl start serviceoptd`), or set SERVICEOPT_STATE_DIR to a directory of yours",
            )
            return
    elif nearest == places.state:
        yield ok("state directory", f"{places.state} can be written")
    else:
        yield ok("state directory", f"{places.state} will be made in {nearest}")
    try:
        refuse_network_file_system(places.state)
    except EnvironmentLacks as refused:
        yield fail("file system", refused.message, refused.hint)
    free = shutil.disk_usage(nearest).free / GIBIBYTE
    if free < NO_ROOM:
        yield fail("disk room", f"{free:.2f} GiB free in {nearest}", "make room: the journal cannot be written")
    elif free < LITTLE_ROOM:
        yield warn("disk room", f"{free:.2f} GiB free in {nearest}", "logs and raw results of a run may need more")
    else:
        yield ok("disk room", f"{free:.0f} GiB free in {nearest}")


def _nearest(path: Path) -> Path:
    """The path itself, or what there is of the directories around it."""
    # os.path.exists: unlike Path.exists (before Python 3.12) it does not raise where a directory may not be entered.
    return next(place for place in (path, *path.parents) if os.path.exists(place))  # noqa: PTH110


def daemon(places: Places) -> Iterator[Finding]:
    """Checks whether the daemon answers, or could."""
    if answers(places.socket):
        yield ok("daemon", f"answers on {places.socket}")
        return
    nearest = _nearest(places.socket.parent)
    if os.path.exists(places.socket) and not os.access(places.socket, os.W_OK):  # noqa: PTH110 - see _nearest
        yield fail(
            "daemon", f"{places.socket} may not be used by this user", "`usermod -aG serviceopt USER`, log in again"
        )
    elif os.access(nearest, os.W_OK | os.X_OK):
        yield ok("daemon", f"not running; its socket will be {places.socket}")
    else:
        yield warn(
            "daemon", f"not running, and {nearest} may not be written by this user", "systemctl start serviceoptd"
        )
    if len(os.fsencode(places.socket)) > 107:
        yield fail(
            "socket path", f"{places.socket} is too long", "set SERVICEOPT_SOCKET to a path of at most 107 bytes"
        )


def answers(path: Path) -> bool:
    """Whether somebody listens on this socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as tried:
        tried.settimeout(2.0)
        try:
            tried.connect(str(path))
        except OSError:
            return False
    return True


def devices(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Accelerators, and how much of their memory is in use. `environment`: the engines'."""
    nodes = accelerators()
    used = asyncio.run(memory_in_use(environment))
    if used:
        shown = ", ".join(f"{device} ({size / GIBIBYTE:.1f} GiB in use)" for device, size in sorted(used.items()))
        yield ok("devices", shown)
    elif nodes:
        yield warn(
            "devices",
            f"{', '.join(nodes[:3])}{', ...' if len(nodes) > 3 else ''} exist, but nvidia-smi and npu-smi report no device",
            "install the driver's tools, and look at CUDA_VISIBLE_DEVICES or ASCEND_RT_VISIBLE_DEVICES",
        )
    else:
        yield ok("devices", "no accelerator: engines run on the CPU")


def limits(fields: Sequence[Field]) -> Iterator[Finding]:
    """Checks the limits of open files and of shared memory."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    concurrency = max((field.max for field in fields if "CONCURRENCY" in field.name), default=0.0)
    if files < max(ENOUGH_FILES, 2 * concurrency):
        yield warn(
            "open files", f"at most {files}", "`ulimit -n 65536` before a standalone run; the unit has its own limit"
        )
    else:
        yield ok("open files", f"at most {files}")
    shared = Path("/dev/shm")  # noqa: S108 - asked for its size
    if shared.is_dir() and (size := shutil.disk_usage(shared).total / GIBIBYTE) < LITTLE_SHARED_MEMORY:
        yield warn("shared memory", f"{size:.2f} GiB", "engines with several workers need more (--shm-size)")


def control_group() -> Iterator[Finding]:
    """Checks whether processes get a control group of their own."""
    cgroup = own_cgroup()
    if cgroup is not None and is_delegated(cgroup, os.environ):
        yield ok("control group", f"{cgroup} is delegated to serviceopt")
    else:
        yield ok(
            "control group", "none delegated here: processes are tracked by group and launch id (the unit has one)"
        )


def leftovers(places: Places) -> Iterator[Finding]:
    """What is left of launches that this journal announced and whose end it does not know, with no daemon to end it."""
    if answers(places.socket):
        yield ok("leftover processes", "none: the running daemon looks after its processes")
        return
    ours = _unfinished(places)
    found = sorted(pid for pid in process_table.living() if pid != os.getpid() and _launch_of(pid) in ours)
    if found:
        pids = ", ".join(map(str, found[:10]))
        yield warn("leftover processes", f"{len(found)} from a killed daemon: {pids}", "start the daemon: it ends them")
    else:
        yield ok("leftover processes", "none")


def _unfinished(places: Places) -> frozenset[str]:
    """The ids of launches without an outcome; other daemons' launches are not ours to talk about."""
    state = State()
    try:
        for record in JournalReader.open(places.state).events():
            state = fold(state, record)
    except (ServiceoptError, OSError):  # no journal, or one that `journal verify` has to look at
        return frozenset()
    open_ones = [run.evaluation for run in state.runs.values() if run.evaluation and run.evaluation.announced]
    clients = [evaluation.measuring.launch_id for evaluation in open_ones if evaluation.measuring]
    return frozenset([*(evaluation.launch_id for evaluation in open_ones), *clients])


def _launch_of(pid: int) -> str:
    try:
        content = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return ""
    entries = (entry.partition(b"=") for entry in content.split(b"\0"))
    return next((value.decode(errors="replace") for name, _, value in entries if name == b"SERVICEOPT_LAUNCH_ID"), "")
