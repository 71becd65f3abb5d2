"""Who may import whom (docs/design.md): read from the source, so that a lazy import inside a function counts too."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
JOURNAL, DAEMON, CTL = "serviceopt_journal", "serviceoptd", "serviceoptctl"
DIRECTORIES = {JOURNAL: "journal", DAEMON: "daemon", CTL: "ctl"}

CLIENT_MAY_KNOW = (
    "serviceoptd.domain",
    "serviceoptd.config",
    "serviceoptd.bootstrap",
    "serviceoptd.engines.interface",
    "serviceoptd.io.children_environment",
    "serviceoptd.latency_model",
    "serviceoptd.profiling",
    "serviceoptd.submitting.checking",
    "serviceoptd.doctor.doctor",
    "serviceoptd.doctor.drop_ins",
    "serviceoptd.doctor.finding",
    "serviceoptd.doctor.unit_doctor",
)
PURE = ("domain", "search", "simulation", "rules")
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
    roots = {"serviceoptd.__version__", "serviceoptd.service"}  # `from serviceoptd.service import checking` names both
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


def test_only_one_module_starts_processes() -> None:
    starting = {
        str(path.relative_to(ROOT / "daemon" / DAEMON))
        for path in modules(DAEMON)
        if imports(path) & {"subprocess", "os.posix_spawn", "os.fork", "os.execv", "multiprocessing"}
    }
    assert starting <= {
        "io/processes.py",
        "io/child.py",
        "io/programs.py",
        "io/json_lines.py",
        "service/unit_doctor.py",
    }
