"""No function of the daemon or the journal is longer than a screen, or takes more than can be kept in mind."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = (ROOT / "daemon" / "serviceoptd", ROOT / "journal" / "serviceopt_journal")
MOST_LINES = 50
MOST_PARAMETERS = 9

Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules() -> list[Path]:
    found = sorted(path for package in PACKAGES for path in package.rglob("*.py"))
    assert found, "no modules: the test looks in the wrong place"
    return found


def functions(path: Path) -> Iterator[Function]:
    yield from (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, Function))


def parameters(function: Function) -> int:
    told = function.args
    return len(told.posonlyargs) + len(told.args) + len(told.kwonlyargs)


def names(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", modules(), ids=names)
def test_a_function_fits_on_a_screen(path: Path) -> None:
    lines = {function.name: (function.end_lineno or 0) - function.lineno + 1 for function in functions(path)}
    assert not {name: count for name, count in lines.items() if count > MOST_LINES}


@pytest.mark.parametrize("path", modules(), ids=names)
def test_what_travels_together_is_one_parameter(path: Path) -> None:
    counted = {function.name: parameters(function) for function in functions(path)}
    assert not {name: count for name, count in counted.items() if count > MOST_PARAMETERS}


@pytest.mark.parametrize("path", modules(), ids=names)
def test_a_call_hands_over_no_more(path: Path) -> None:
    """Records are excepted, which are made and copied field by field, each by its name."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    counted = [(ast.unparse(call.func), len(call.args) + len(call.keywords)) for call in calls]
    assert not [(name, count) for name, count in counted if count > MOST_PARAMETERS and not is_record(name)]


def is_record(called: str) -> bool:
    """Whether a call makes an object of a class, or a changed copy of one."""
    name = called.rpartition(".")[2]
    return name[:1].isupper() or name == "replace"


LONGEST_MODULE = 300  # lines; the catalogue of events is a list, and may be longer
EVERY_MODULE = [*modules(), *sorted((ROOT / "ctl" / "serviceoptctl").rglob("*.py"))]


@pytest.mark.parametrize("path", [path for path in EVERY_MODULE if path.name != "events.py"], ids=names)
def test_a_module_has_one_idea(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST_MODULE
