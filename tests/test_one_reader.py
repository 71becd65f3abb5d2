"""The one reader (serviceopt_journal/foreign_files.py) opens all files, but in the modules named here with a reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("daemon/serviceoptd", "journal/serviceopt_journal", "ctl/serviceoptctl")

KERNEL = "the kernel's own files: of /proc, or of a cgroup"
OURS = "a file of ours in the state directory, which is checked, or only written"
ASKED = "a file that its user names on his own command line: it may be a pipe that another program fills"
DIRECTORY = "a directory, opened to be synced or gone down from"
ALLOWED = {
    "journal/serviceopt_journal/foreign_files.py": "the one reader",
    "journal/serviceopt_journal/anchor.py": OURS,
    "journal/serviceopt_journal/database.py": OURS,
    "journal/serviceopt_journal/failures.py": f"{DIRECTORY}, or to try whether there is room",
    "journal/serviceopt_journal/lock.py": OURS,
    "journal/serviceopt_journal/clock.py": KERNEL,
    "journal/serviceopt_journal/file_system.py": f"{KERNEL}; {DIRECTORY}",
    "daemon/serviceoptd/config/load.py": ASKED,
    "daemon/serviceoptd/doctor/host_doctor.py": KERNEL,
    "daemon/serviceoptd/doctor/unit_probe.py": "tries what the unit may open, and reads nothing",
    "daemon/serviceoptd/engines/mindie_kubernetes/lock.py": "a lock beside the user's scripts, which is held and never read",
    "daemon/serviceoptd/evaluating/surroundings/room.py": "opens the null device alone, to see whether descriptors are left",
    "daemon/serviceoptd/evaluating/edited_files.py": f"{DIRECTORY}; a new file that replaces another",
    "daemon/serviceoptd/evaluating/keeping/pruning.py": DIRECTORY,
    "daemon/serviceoptd/io/cgroups.py": KERNEL,
    "daemon/serviceoptd/io/environment_file.py": DIRECTORY,
    "ctl/serviceoptctl/daemon_socket.py": KERNEL,
    "daemon/serviceoptd/io/process_table.py": KERNEL,
    "daemon/serviceoptd/io/processes.py": KERNEL,
    "daemon/serviceoptd/profiling/recording/inside_vllm/serviceopt_step_recorder.py": "runs inside vLLM, and only writes",
    "ctl/serviceoptctl/exporting.py": "writes what its user asked for",
    "ctl/serviceoptctl/pages.py": "pages of the documentation, which are installed with it",
    "ctl/serviceoptctl/source.py": "looks whether the journal may be read, and reads nothing",
    "ctl/serviceoptctl/submission.py": ASKED,
    "ctl/serviceoptctl/commands/import_.py": ASKED,
}
"""Module -> why it opens files itself."""


def openings(source: str) -> Iterator[int]:
    """The lines that open a file otherwise than by the one reader.

    `x.open(...)` counts where it can only be a path's: without an argument, with a mode, or with a key of `open`.
    """
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        keys = {keyword.arg for keyword in node.keywords}
        match node.func:
            case ast.Name(id="open") | ast.Attribute(attr="read_text" | "read_bytes"):
                yield node.lineno
            case ast.Attribute(value=ast.Name(id="os" | "io"), attr="open"):
                yield node.lineno
            case ast.Attribute(attr="open"):
                mode = (
                    bool(node.args) and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)
                )
                if mode or not node.args or keys & {"mode", "encoding", "errors", "newline", "buffering"}:
                    yield node.lineno


@pytest.mark.parametrize(
    "source",
    ["open(p)", "p.read_text()", "p.read_bytes()", "p.open()", "p.open('rb')", "os.open(p, 0)", "p.open(encoding='x')"],
)
def test_each_way_to_open_a_file_is_seen(source: str) -> None:
    assert list(openings(source)) == [1]


def test_a_method_that_opens_something_else_is_no_file() -> None:
    assert (
        list(openings("Journal.open(place, on_event=f)\nstore.open(digest)\nqueue.open(load.rate)\ntail(p, 3)")) == []
    )


def test_files_are_opened_by_the_one_reader_alone() -> None:
    found = {
        f"{path.relative_to(ROOT)}": lines
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if (lines := list(openings(path.read_text())))
    }
    assert {path: lines for path, lines in found.items() if path not in ALLOWED} == {}, (
        "read it by serviceopt_journal.foreign_files: what another program made may be a pipe, a link or without end"
    )
    assert sorted(set(ALLOWED) - set(found)) == [], "nothing is opened there any more"
