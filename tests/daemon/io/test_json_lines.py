from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from serviceopt_journal.errors import EnvironmentLacks
from serviceoptd.io.json_lines import JsonLines

ECHO = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)"


def python(program: str, tmp_path: Path) -> JsonLines:
    return JsonLines([sys.executable, "-c", program], environment=os.environ, working_directory=tmp_path)


def test_each_question_has_its_answer(tmp_path: Path) -> None:
    with python(ECHO, tmp_path) as child:
        assert [child.ask({"n": n}) for n in range(3)] == [{"n": 0}, {"n": 1}, {"n": 2}]
        pid = child.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_child_that_ends_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    with (
        python("import sys; sys.exit('no module named vllm')", tmp_path) as child,
        pytest.raises(EnvironmentLacks, match="status 1") as error,
    ):
        child.ask({})
    assert "no module named vllm" in error.value.hint


def test_a_program_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentLacks, match="cannot be started"):
        JsonLines([str(tmp_path / "absent")], environment={}, working_directory=tmp_path)


def test_a_child_that_ignores_the_end_of_its_input_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serviceoptd.io.json_lines.PATIENCE", 0.1)
    with python("import time; print(1, flush=True); time.sleep(600)", tmp_path) as child:
        assert child.ask({}) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)
