from __future__ import annotations

import sys
from pathlib import Path

import pytest

from serviceopt_journal.errors import EnvironmentLacks
from serviceoptd.predicting.real_vllm_scheduler import python_of


def a_program(path: Path, first_line: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(first_line + "\n")
    return path


def test_the_interpreter_is_the_one_that_the_program_names(tmp_path: Path) -> None:
    assert python_of(a_program(tmp_path / "vllm", f"#!{sys.executable}")) == Path(sys.executable)


def test_a_wrapper_s_interpreter_lies_beside_it(tmp_path: Path) -> None:
    program = a_program(tmp_path / "bin" / "vllm", "#!/bin/sh")
    (tmp_path / "bin" / "python3").symlink_to(sys.executable)
    assert python_of(program) == tmp_path / "bin" / "python3"


def test_a_program_without_an_interpreter_is_an_error_that_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentLacks, match="names no Python") as error:
        python_of(a_program(tmp_path / "vllm", "#!/bin/sh"))
    assert "program" in error.value.hint
