from __future__ import annotations

import asyncio
import os
import sys
import threading
from pathlib import Path

import psutil
import pytest

from child_stage import until
from serviceopt_journal.errors import EnvironmentLacks
from serviceoptd.toolkit.find_program import find_program, output_of


def test_a_program_is_found_by_path_name_or_relative_to_the_working_directory(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "serve"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert find_program(str(program), {}, Path("/")) == program
    assert find_program("bin/serve", {}, tmp_path) == program
    assert find_program("serve", {"PATH": f"/absent:{program.parent}"}, Path("/")) == program
    assert find_program("env", {}, Path("/")).name == "env"  # the system's usual PATH, where the run has none
    program.chmod(0o644)
    with pytest.raises(EnvironmentLacks, match="not on the PATH"):
        find_program("serve", {"PATH": str(program.parent)}, Path("/"))
    with pytest.raises(EnvironmentLacks, match="may not be executed"):
        find_program("bin/serve", {}, tmp_path)


def ask(code: str, limit: float = 30.0) -> str | None:
    arguments = (sys.executable, "-I", "-S", "-c", code)
    return asyncio.run(output_of(arguments, environment={}, working_directory=Path("/"), limit=limit))


def test_the_output_of_a_program_counts_only_when_it_succeeds_in_time() -> None:
    assert ask("print('told')") == "told\n"
    assert ask("print('told'); raise SystemExit(1)") is None
    assert ask("import time; time.sleep(60)", limit=0.1) is None
    assert asyncio.run(output_of(("absent",), environment={}, working_directory=Path("/"), limit=1)) is None


def test_a_cancelled_question_leaves_no_process_and_no_thread(tmp_path: Path) -> None:
    async def run() -> None:
        code = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)"
        arguments = (sys.executable, "-I", "-S", "-c", code)
        asking = asyncio.create_task(output_of(arguments, environment={}, working_directory=Path("/"), limit=60))
        await until(lambda: (tmp_path / "pid").exists() and bool((tmp_path / "pid").read_text()))
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))
        await until(lambda: threading.active_count() <= before)

    before = threading.active_count()
    asyncio.run(run())
    assert os.getpid() in psutil.pids()
