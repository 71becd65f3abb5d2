"""Who may import whom (docs/design.md): read from the source, so that a lazy import inside a function counts too."""

from __future__ import annotations

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
JOURNAL, DAEMON, CTL = "serviceopt_journal", "serviceoptd", "serviceoptctl"
DIRECTORIES = {JOURNAL: "journal", DAEMON: "daemon", CTL: "ctl"}

FLOORS = (
    *("domain", "search", "simulation", "rules"),
    *("toolkit", "io", "predicting", "engines", "benchmarks"),
    *("config", "contract", "evaluating", "submitting", "profiling", "doctor"),
    *("service", "bootstrap", "foreground"),
)
"""The rooms of the daemon, from the ground up: each may import those before it, and none behind it."""

CLIENT_MAY_KNOW = (
    "serviceoptd.domain",
    "serviceoptd.config",
    "serviceoptd.doctor",
    "serviceoptd.foreground",
    "serviceoptd.predicting",
    "serviceoptd.profiling",
    "serviceoptd.simulation.step_times",
    "serviceoptd.submitting.checking",
)
MOST_ENTRIES = 20
"""A folder with more has a second subject in it."""

PURE = FLOORS[:4]
EFFECTS = frozenset(
    {"asyncio", "os", "sys", "time", "datetime", "random", "secrets", "socket", "subprocess", "threading", "logging"}
    | {"structlog", "pathlib", "shutil", "sqlite3", "tempfile", "uuid", "signal", "http", "urllib", "starlette"}
    | {"uvicorn", "watchdog", "psutil", "pydantic"}
)


def modules(package: str) -> list[Path]:
    found = sorted((ROOT / DIRECTORIES[package] / package).rglob("*.py"))
    assert found, f"{package} has no modules: the test looks in the wrong place"
    return found


def imports(path: Path) -> set[str]:
    """Every module that a file imports, also inside functions; relative ones resolved."""
    package_root = next(parent for parent in path.parents if parent.name in DIRECTORIES.values())
    package = path.relative_to(package_root).with_suffix("").parts[:-1]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def names(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", modules(JOURNAL), ids=names)
def test_the_journal_knows_neither_the_daemon_nor_the_client(path: Path) -> None:
    assert not [name for name in imports(path) if name.split(".")[0] in (DAEMON, CTL)]


@pytest.mark.parametrize("path", modules(DAEMON), ids=names)
def test_the_daemon_does_not_know_the_client(path: Path) -> None:
    assert not [name for name in imports(path) if name.split(".")[0] == CTL]


@pytest.mark.parametrize("path", modules(CTL), ids=names)
def test_the_client_knows_only_the_front_rooms_of_the_daemon(path: Path) -> None:
    foreign = {name for name in imports(path) if name.split(".")[0] == DAEMON and name != DAEMON}
    # `from serviceoptd.submitting import checking` names the room as well
    roots = {"serviceoptd.__version__", "serviceoptd.submitting"}
    assert not {name for name in foreign - roots if not name.startswith(CLIENT_MAY_KNOW)}


PURE_MODULES = [
    path for path in modules(DAEMON) if path.relative_to(ROOT / "daemon" / DAEMON).parts[0] in PURE
]  # fmt: skip


@pytest.mark.parametrize("path", PURE_MODULES, ids=names)
def test_the_core_is_pure(path: Path) -> None:
    found = imports(path)
    assert not {name for name in found if name.split(".")[0] in EFFECTS}
    rooms = {name.split(".")[1] for name in found if name.startswith(DAEMON + ".")}
    assert rooms <= set(PURE)


def module_name(path: Path) -> str:
    """`serviceoptd.domain.state` of a file; a package's own name of its `__init__.py`."""
    return ".".join(path.relative_to(ROOT / "daemon").with_suffix("").parts).removesuffix(".__init__")


FILES = {module_name(path): path for path in modules(DAEMON)}
IMPORTED = {name: {other for other in imports(path) if other in FILES} - {name} for name, path in FILES.items()}


def room(module: str) -> str:
    return [*module.split("."), ""][1]


def test_every_room_stands_on_a_floor() -> None:
    assert {room(name) for name in FILES} - {""} == {*FLOORS, "__main__"}


@pytest.mark.parametrize("name", FLOORS)
def test_a_room_imports_only_the_floors_below_it(name: str) -> None:
    allowed = {*FLOORS[: FLOORS.index(name) + 1], ""}
    upward = [(a, b) for a, others in IMPORTED.items() if room(a) == name for b in others if room(b) not in allowed]
    assert not upward


def test_no_two_folders_of_a_room_import_each_other() -> None:
    folders: dict[str, set[str]] = {}
    for module, others in IMPORTED.items():
        for other in others:
            mine, its = module.split(".")[1:-1], other.split(".")[1:-1]
            shared = next((n for n, (a, b) in enumerate(zip(mine, its, strict=False)) if a != b), None)
            if shared:  # both lie in one room, in different folders of it
                folders.setdefault("/".join(mine[: shared + 1]), set()).add("/".join(its[: shared + 1]))
    assert folders, "no folder imports another one: the test looks in the wrong place"
    _ = list(TopologicalSorter(folders).static_order())  # raises CycleError, which names the circle


def test_no_circle_of_files() -> None:
    for package, directory in DIRECTORIES.items():
        files = [path for path in modules(package) if path.name != "__init__.py"]
        paths = {".".join(path.relative_to(ROOT / directory).with_suffix("").parts): path for path in files}
        graph = {name: (imports(path) & set(paths)) - {name} for name, path in paths.items()}
        _ = list(TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


FOLDERS = sorted({path.parent for package in DIRECTORIES for path in modules(package)})


@pytest.mark.parametrize("folder", [folder for folder in FOLDERS if DAEMON in folder.parts], ids=names)
def test_a_folder_can_be_taken_in_at_a_glance(folder: Path) -> None:
    entries = [entry.name for entry in folder.iterdir() if entry.name not in ("__pycache__", "py.typed")]
    assert len(entries) <= MOST_ENTRIES, entries


@pytest.mark.parametrize("folder", FOLDERS, ids=names)
def test_a_folder_says_what_it_is_for_and_where_to_begin(folder: Path) -> None:
    said = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    assert said
    if len(list(folder.glob("*.py"))) > 2:
        named = re.findall(r"Read\s+first: `([\w/]+\.py)`", said)
        assert named
        assert (folder / named[0]).exists()


START_PROCESSES = {
    "io/processes.py": "the children of a run: services, clients and their stop commands",
    "io/child.py": "starts none: it holds the child that processes.py started",
    "io/json_lines.py": "vLLM's own scheduler, asked line by line by `trust`",
    "toolkit/find_program.py": "short-lived programs that are asked for their output, such as nvidia-smi",
    "engines/mindie_kubernetes/cluster.py": "kubectl and scripts, by the supervisor, which is itself a child of the run",
    "doctor/unit_doctor.py": "systemctl and systemd-run, to look at the unit",
}
"""Every module that can start a process, and for what. The children of a run are started by `io/processes.py` alone."""

PROCESS_MODULES = frozenset({"subprocess", "multiprocessing", "pty", "_posixsubprocess"})
PROCESS_FUNCTIONS = frozenset(
    {"fork", "forkpty", "posix_spawn", "posix_spawnp", "system", "popen", "Popen", "ProcessPoolExecutor"}
    | {"create_subprocess_exec", "create_subprocess_shell", "subprocess_exec", "subprocess_shell"}
    | {f"{kind}{how}" for kind in ("exec", "spawn") for how in ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")}
)


def ways_to_start_a_process(source: str) -> set[str]:
    """The modules and functions in a source text that start processes, under whatever name their module was imported."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] in PROCESS_MODULES}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            imported = {alias.name for alias in node.names}
            found |= {str(node.module)} & PROCESS_MODULES | imported & PROCESS_FUNCTIONS
        elif isinstance(node, ast.Attribute) and node.attr in PROCESS_FUNCTIONS:
            found.add(node.attr)
    return found


@pytest.mark.parametrize(
    "source",
    [
        "import subprocess",
        "from subprocess import run",
        "def later():\n    import multiprocessing.pool",
        "import pty",
        "from os import execvp as become",
        "import os as system\nsystem.fork()",
        "import os\nos.posix_spawn('/bin/true', ['true'], {})",
        "import os\nos.spawnlp(os.P_WAIT, 'true', 'true')",
        "import os\nos.system('true')",
        "import asyncio\nasyncio.create_subprocess_exec('true')",
        "from asyncio import create_subprocess_shell",
        "loop.subprocess_exec(protocol, 'true')",
        "from concurrent.futures import ProcessPoolExecutor",
    ],
)
def test_every_way_to_start_a_process_is_noticed(source: str) -> None:
    assert ways_to_start_a_process(source)


def test_only_the_listed_modules_start_processes() -> None:
    starting = {
        str(path.relative_to(ROOT / DIRECTORIES[package] / package))
        for package in DIRECTORIES
        for path in modules(package)
        if ways_to_start_a_process(path.read_text())
    }
    assert starting == set(START_PROCESSES)
