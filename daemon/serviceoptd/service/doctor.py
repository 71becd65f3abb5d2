"""What `serviceoptctl doctor` looks at: is everything here that this configuration needs?

Reads and asks, makes nothing and starts nothing but `nvidia-smi` and `npu-smi`, each within a time limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import resource
import shutil
import socket
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from serviceopt_journal.errors import EnvironmentLacks, ServiceoptError
from serviceopt_journal.file_system import refuse_network_file_system
from serviceopt_journal.places import Places
from serviceopt_journal.reader import JournalReader
from serviceoptd.config import plugins
from serviceoptd.config.load import Loaded
from serviceoptd.domain.evolve import fold
from serviceoptd.domain.space import Space
from serviceoptd.domain.state import State
from serviceoptd.engines.interface import Problem, Workplace
from serviceoptd.io import process_table
from serviceoptd.io.cgroups import is_delegated, own_cgroup
from serviceoptd.io.children_environment import isolated, own_prefix
from serviceoptd.io.devices import memory_in_use
from serviceoptd.io.ports import holder
from serviceoptd.io.programs import find_program
from serviceoptd.service.checking import Plans, first_plans
from serviceoptd.service.finding import Finding, fail, ok, warn
from serviceoptd.service.needs import Needs, accelerators, needs

GIBIBYTE = 1024**3
LITTLE_ROOM, NO_ROOM = 1.0, 0.05  # GiB free for journal, logs and results
ENOUGH_FILES = 4096  # open files; a benchmark client needs one for each request in flight, an engine hundreds
LITTLE_SHARED_MEMORY = 1.0  # GiB; workers of one engine exchange tensors through it


@dataclass(frozen=True)
class Surroundings:
    """Whom the checks are for: the submitter's environment and directory, the daemon's places."""

    places: Places
    environment: Mapping[str, str]
    working_directory: Path

    def children(self, path_prefix: str = "") -> dict[str, str]:
        """The environment that engines and clients would get."""
        return isolated(self.environment, own_prefix(), path_prefix)


def examine(loaded: Loaded, around: Surroundings) -> Iterator[Finding]:
    """Everything, in the order in which a run would need it."""
    yield from _python()
    yield from _plugins()
    yield from _state(around.places)
    yield from _socket(around.places)
    yield from _configuration(loaded)
    if not loaded.placeholders:
        yield from _engine_and_client(loaded, around)
        yield from _commands(loaded, around)
    yield from _devices(around)
    yield from _limits(loaded)
    yield from _control_group()
    yield from _leftovers(around.places)


def _python() -> Iterator[Finding]:
    yield ok("python", f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {platform.machine()}")


def _plugins() -> Iterator[Finding]:
    """What other packages have added to this Python environment, and what of it cannot be used."""
    complaints = plugins.installed().complaints()
    for complaint in complaints:
        yield warn("plugin", complaint, "mend or uninstall its package; it stops nothing else")
    found = plugins.of_third_parties()
    if found or not complaints:
        yield ok("plugins", ", ".join(found) or "none besides the built-in ones")


def _state(places: Places) -> Iterator[Finding]:
    nearest = _nearest(places.state)
    daemon = _answers(places.socket)
    if not os.access(nearest, os.W_OK | os.X_OK):
        if daemon:
            yield ok("state directory", f"{places.state} belongs to the daemon, which runs")
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


def _socket(places: Places) -> Iterator[Finding]:
    if _answers(places.socket):
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


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as tried:
        tried.settimeout(2.0)
        try:
            tried.connect(str(path))
        except OSError:
            return False
    return True


def _configuration(loaded: Loaded) -> Iterator[Finding]:
    name = str(loaded.path or "defaults")
    if not loaded.placeholders:
        settings = loaded.settings
        yield ok("configuration", f"{name}: {settings.engine} with {settings.benchmark}")
    for problem in loaded.placeholders:
        yield fail("configuration", str(problem), "replace it; `serviceoptctl check` lists all of them")


def _engine_and_client(loaded: Loaded, around: Surroundings) -> Iterator[Finding]:
    """What engine and client themselves know to look for: models, data sets, versions."""
    settings = loaded.settings
    workplace = Workplace(around.places.state, around.working_directory, around.children(settings.path_prefix))
    with plugins.blaming("engine", settings.engine):
        engine = plugins.engine_class(settings.engine)(settings.engine_options)
        yield from _found(settings.engine, engine.problems(workplace, settings.manage_lifecycle))
    with plugins.blaming("benchmark", settings.benchmark):
        client = plugins.benchmark_class(settings.benchmark)(settings.benchmark_options)
        yield from _found(settings.benchmark, client.problems(workplace))


def _found(name: str, problems: Sequence[Problem]) -> Iterator[Finding]:
    for problem in problems:
        yield fail(problem.key or name, problem.message, problem.hint)
    if not problems:
        yield ok(name, "finds what it needs")


def _commands(loaded: Loaded, around: Surroundings) -> Iterator[Finding]:
    """Programs and port of what the first particle would start."""
    environment = around.children(loaded.settings.path_prefix)
    try:
        plans = _plans(loaded, around)
    except ServiceoptError as refused:
        yield fail("commands", refused.message, refused.hint)
        return
    for role, command in plans.commands():
        try:
            directory = command.working_directory or around.working_directory
            program = find_program(command.argv[0], {**environment, **command.environment}, directory)
        except EnvironmentLacks as lacking:
            yield fail(f"{role} program", lacking.message, lacking.hint)
        else:
            yield ok(f"{role} program", str(program))
    if not plans.commands():
        yield ok("programs", "none is needed")
    if plans.service.command is not None and plans.service.listens_on is not None:
        yield _port(*plans.service.listens_on, daemon_runs=_answers(around.places.socket))


def _plans(loaded: Loaded, around: Surroundings) -> Plans:
    settings = loaded.settings
    return first_plans(
        settings,
        Space.of(settings.fields),
        environment=around.children(settings.path_prefix),
        working_directory=around.working_directory,
        state=around.places.state,
    )


def _port(host: str, port: int, *, daemon_runs: bool) -> Finding:
    taken = holder(host, port)
    if taken is None:
        return ok("port", f"{port} on {host} is free")
    message = f"{port} on {host} is taken by " + (
        f"process {taken.pid} ({taken.name})" if taken.pid else "a process of another user"
    )
    if daemon_runs:
        return warn(
            "port", message, "if that is no service that the daemon is measuring, stop it or choose another `port`"
        )
    return fail("port", message, "stop it, or choose another `port`")


def _devices(around: Surroundings) -> Iterator[Finding]:
    nodes = accelerators()
    used = asyncio.run(memory_in_use(around.children()))
    if used:
        shown = ", ".join(f"{device} ({size / GIBIBYTE:.1f} GiB in use)" for device, size in sorted(used.items()))
        yield ok("devices", shown)
    elif nodes:
        yield warn(
            "devices",
            f"{', '.join(nodes[:3])}{', ...' if len(nodes) > 3 else ''} exist, but nvidia-smi and npu-smi tell nothing",
            "install the driver's tools, and look at CUDA_VISIBLE_DEVICES or ASCEND_RT_VISIBLE_DEVICES",
        )
    else:
        yield ok("devices", "no accelerator: engines run on the CPU")


def _limits(loaded: Loaded) -> Iterator[Finding]:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    concurrency = max((field.max for field in loaded.settings.fields if "CONCURRENCY" in field.name), default=0.0)
    if files < max(ENOUGH_FILES, 2 * concurrency):
        yield warn(
            "open files", f"at most {files}", "`ulimit -n 65536` before a standalone run; the unit has its own limit"
        )
    else:
        yield ok("open files", f"at most {files}")
    shared = Path("/dev/shm")  # noqa: S108 - asked for its size
    if shared.is_dir() and (size := shutil.disk_usage(shared).total / GIBIBYTE) < LITTLE_SHARED_MEMORY:
        yield warn("shared memory", f"{size:.2f} GiB", "engines with several workers need more (--shm-size)")


def _control_group() -> Iterator[Finding]:
    cgroup = own_cgroup()
    if cgroup is not None and is_delegated(cgroup, os.environ):
        yield ok("control group", f"{cgroup} is delegated to us")
    else:
        yield ok("control group", "none of our own here: processes are found by group and launch id (the unit has one)")


def _leftovers(places: Places) -> Iterator[Finding]:
    """What is left of launches that this journal announced and whose end it does not know, with no daemon to end it."""
    if _answers(places.socket):
        yield ok("leftover processes", "none: a daemon looks after its own")
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


def needed(loaded: Loaded, around: Surroundings) -> Needs:
    """The files, directories and devices that the configuration refers to, as far as they are here."""
    settings = loaded.settings
    environment = around.children(settings.path_prefix)
    commands: list[list[str]] = []
    edits: Mapping[Path, bytes] = {}
    with contextlib.suppress(ServiceoptError):  # `examine` has told
        plans = _plans(loaded, around)
        edits = plans.service.edits
        for _, command in plans.commands():
            directory = command.working_directory or around.working_directory
            program = find_program(command.argv[0], {**environment, **command.environment}, directory)
            commands.append([str(program), *command.argv[1:]])
    return needs(settings, commands, around.working_directory, edits=edits)
