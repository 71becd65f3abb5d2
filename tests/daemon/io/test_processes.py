from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import signal
import stat
from pathlib import Path

import psutil
import pytest

from child_stage import ESCAPE, Stage, lives, python, until
from patience import HANG
from serviceopt_journal.errors import EnvironmentLacks, InvalidConfiguration
from serviceopt_journal.foreign_files import MIB
from serviceoptd.io import child, process_table, processes
from serviceoptd.io.processes import spawn, stop
from serviceoptd.toolkit.interface import Command

SLEEP = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def test_a_child_finds_its_environment_its_launch_id_its_directory_and_nothing_to_read(stage: Stage) -> None:
    code = "import os, json, sys; print(json.dumps([dict(os.environ), os.getcwd(), sys.stdin.read(), os.getsid(0)]))"

    async def run() -> tuple[int, int]:
        child = await spawn(
            python(code, environment={"TUNED": "8"}),
            environment={"PATH": "/usr/bin", "KEPT": "yes"},
            working_directory=stage.directory,
            launch_id=stage.launch_id,
            output=stage.output,
        )
        return child.pid, (await stop(child, grace=10)).exit_status if await child.wait() == 0 else -1

    pid, status = asyncio.run(run())
    environment, directory, read, session = json.loads(stage.printed())
    assert status == 0
    environment.pop("LC_CTYPE", None)  # Python's own
    assert environment == {
        "PATH": "/usr/bin",
        "KEPT": "yes",
        "TUNED": "8",
        "SERVICEOPT_LAUNCH_ID": stage.launch_id,
    }
    assert (directory, read, session) == (str(stage.directory), "", pid)


def test_output_and_errors_are_appended_to_a_file_that_others_cannot_read(stage: Stage) -> None:
    stage.output.touch(0o640)
    stage.output.write_text("before\n")

    async def run() -> None:
        child = await stage.start("import sys; print('out', flush=True); print('err', file=sys.stderr)")
        await child.wait()
        await stop(child, grace=1)

    asyncio.run(run())
    assert stage.printed() == "before\nout\nerr\n"
    assert stat.S_IMODE(stage.output.stat().st_mode) & 0o007 == 0


def test_a_child_inherits_none_of_our_descriptors(stage: Stage, tmp_path: Path) -> None:
    ours = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(ours, True)

    async def run() -> None:
        child = await stage.start("import os; print(sorted(map(int, os.listdir('/proc/self/fd')))[:-1])")
        await child.wait()
        await stop(child, grace=1)

    asyncio.run(run())
    os.close(ours)
    assert stage.printed() == "[0, 1, 2]\n"


def test_the_files_of_a_command_are_there_when_it_starts(stage: Stage) -> None:
    command = python("print(open('sub/model.json').read())")

    async def run(files: dict[Path, bytes]) -> None:
        child = await spawn(
            Command(command.argv, files=files),
            environment={},
            working_directory=stage.directory,
            launch_id=stage.launch_id,
            output=stage.output,
        )
        await child.wait()
        await stop(child, grace=1)

    asyncio.run(run({Path("sub/model.json"): b"{}"}))
    assert stage.printed() == "{}\n"
    with pytest.raises(InvalidConfiguration, match="is not below"):
        asyncio.run(run({Path("../elsewhere"): b""}))
    assert not (stage.directory.parent / "elsewhere").exists()


def test_a_program_is_looked_for_on_the_childs_path_and_not_on_ours(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ours", "theirs"):
        program = tmp_path / name / "serve"
        program.parent.mkdir()
        program.write_text(f"#!/usr/bin/env python3\nprint('{name}')\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'ours'}:{os.environ['PATH']}")

    async def run() -> None:
        child = await spawn(
            Command(("serve",)),
            environment={"PATH": "theirs:/usr/bin:/bin"},
            working_directory=tmp_path,
            launch_id=stage.launch_id,
            output=stage.output,
        )
        await child.wait()
        await stop(child, grace=1)

    asyncio.run(run())
    assert stage.printed() == "theirs\n"


def test_a_program_that_cannot_be_started_is_named_with_what_to_do(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("no program")
    (tmp_path / "senseless").write_text("neither script nor binary")
    (tmp_path / "senseless").chmod(0o755)

    def start(*argv: str, **places: Path) -> EnvironmentLacks:
        with pytest.raises(EnvironmentLacks) as caught:
            asyncio.run(
                spawn(
                    Command(argv),
                    environment={"PATH": "/usr/bin"},
                    launch_id=stage.launch_id,
                    **{"working_directory": tmp_path, "output": stage.output, **places},
                )
            )
        assert caught.value.hint
        return caught.value

    assert "'vllm' is not on the PATH of the run (/usr/bin)" in start("vllm").message
    assert "does not exist" in start("./absent").message
    assert "may not be executed" in start("./plain").message
    assert "Exec format error" in start("./senseless").message
    assert "null byte" in start("/bin/true", "a\0b").message
    assert "working directory" in start("/bin/true", working_directory=tmp_path / "absent").message
    assert "could not be started" in start("/bin/true", output=tmp_path / "plain" / "log").message
    assert "cgroup.procs" in start("/bin/true", cgroup=tmp_path / "absent").message
    assert stage.left() == []


@pytest.mark.parametrize(("code", "expected"), [("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", -9)])
def test_everybody_who_waits_is_told_the_exit_status(stage: Stage, code: str, expected: int) -> None:
    async def run() -> None:
        child = await stage.start(code)
        hasty = asyncio.create_task(child.wait())
        await asyncio.sleep(0)
        hasty.cancel()
        assert await asyncio.wait_for(asyncio.gather(child.wait(), child.wait()), 10) == [expected, expected]
        assert not child.alive
        assert await child.wait() == expected
        await stop(child, grace=1)

    asyncio.run(run())


def test_the_start_time_of_a_child_is_the_kernels(stage: Stage) -> None:
    async def run() -> None:
        child = await stage.start(SLEEP)
        assert child.alive
        assert child.started == pytest.approx(psutil.Process(child.pid).create_time(), abs=2)
        await stop(child, grace=10)

    asyncio.run(run())


def test_a_child_that_ended_keeps_its_pid_until_it_is_stopped(stage: Stage) -> None:
    async def run() -> None:
        child = await stage.start("pass")
        await child.wait()
        kept = process_table.stat(child.pid)
        assert kept is not None
        assert kept.dead
        await stop(child, grace=1)
        assert process_table.stat(child.pid) is None
        child.signal_group(signal.SIGKILL)  # nobody is there any more, and nobody is hit

    asyncio.run(run())


def test_a_service_that_ends_on_sigterm_is_not_killed(stage: Stage) -> None:
    code = (
        "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(3)); print('up', flush=True); time.sleep(60)"
    )

    async def run() -> None:
        child = await stage.start(code)
        await stage.says("up")
        stopped = await stop(child, grace=10)
        assert (stopped.exit_status, stopped.forced, stopped.reaped) == (3, False, ())

    asyncio.run(run())


def test_a_service_that_ignores_sigterm_is_killed_after_its_grace(stage: Stage) -> None:
    async def run() -> None:
        child = await stage.start(STUBBORN)
        await stage.says("up")
        stopped = await stop(child, grace=0.1)
        assert (stopped.exit_status, stopped.forced, stopped.reaped) == (-signal.SIGKILL, True, ())
        assert stopped.seconds >= 0.1

    asyncio.run(run())


def test_stopping_leaves_no_grandchild_wherever_it_went(stage: Stage) -> None:
    code = (
        ESCAPE
        + """
SLEEP = "import os, time; print('worker', os.getpid(), flush=True); time.sleep(60)"
def sleep(environment):
    os.execve(sys.executable, [sys.executable, "-ISc", SLEEP], environment)
os.fork() or sleep(os.environ)
escape(lambda: sleep(os.environ))
escape(lambda: sleep({}))  # no environment is left to be seen, as after setproctitle
time.sleep(60)
"""
    )

    async def run() -> None:
        child = await stage.start(code)
        await until(lambda: stage.printed().count("worker") == 3)
        workers = [int(word) for word in stage.printed().split() if word.isdigit()]
        stopped = await stop(child, grace=10)
        assert not stopped.forced
        assert [pid for pid in workers if lives(pid)] == []
        assert set(stopped.reaped) <= set(workers)
        assert len(stopped.reaped) >= 2  # those outside of the process group
        assert stage.left() == []

    asyncio.run(run())


def test_what_a_crashed_service_left_behind_is_ended_when_it_is_stopped(stage: Stage) -> None:
    code = ESCAPE + "def sleep(): print(os.getpid(), flush=True); time.sleep(60)\nescape(sleep); os._exit(9)"

    async def run() -> None:
        child = await stage.start(code)
        assert await child.wait() == 9
        worker = int(await stage.says("\n"))
        stopped = await stop(child, grace=10)
        assert (stopped.exit_status, stopped.reaped) == (9, (worker,))
        assert not lives(worker)

    asyncio.run(run())


def test_a_stop_command_takes_the_place_of_sigterm(stage: Stage) -> None:
    stopping = "import os, pathlib; pathlib.Path('stop-here').touch(); print('asked')"
    code = "import pathlib, sys, time\nwhile not pathlib.Path('stop-here').exists(): time.sleep(0.01)\nsys.exit(4)"

    async def run() -> None:
        child = await stage.start(code)
        stopped = await stop(child, grace=10, stop_command=python(stopping))
        assert (stopped.exit_status, stopped.forced) == (4, False)

    asyncio.run(run())
    assert "asked" in stage.output.with_name(stage.output.name + ".stop").read_text()


@pytest.mark.parametrize("command", [python("raise SystemExit(1)"), Command(("absent-stop-program",))])
def test_after_a_stop_command_that_fails_sigterm_follows(stage: Stage, command: Command) -> None:
    async def run() -> None:
        child = await stage.start(SLEEP)
        stopped = await stop(child, grace=10, stop_command=command)
        assert (stopped.exit_status, stopped.forced) == (-signal.SIGTERM, False)

    asyncio.run(run())


def test_a_stop_command_that_hangs_is_ended_with_the_service(stage: Stage) -> None:
    async def run() -> None:
        child = await stage.start(SLEEP)
        stopped = await stop(child, grace=0.2, stop_command=python(STUBBORN))
        assert stopped.exit_status in (-signal.SIGTERM, -signal.SIGKILL)  # the grace was used up by the command

    asyncio.run(run())
    assert [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE] == []


def test_a_cancelled_stop_leaves_nothing(stage: Stage) -> None:
    code = ESCAPE + "import signal\nsignal.signal(15, signal.SIG_IGN)\nescape(lambda: time.sleep(60))\n"

    async def run() -> None:
        child = await stage.start(code + "print('up', flush=True); time.sleep(60)")
        await stage.says("up")
        stopping = asyncio.create_task(stop(child, grace=60))
        await asyncio.sleep(0.02)
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
        assert await asyncio.wait_for(child.wait(), 10) == -signal.SIGKILL
        await until(lambda: process_table.stat(child.pid) is None)
        await until(lambda: stage.left() == [])

    asyncio.run(run())


def test_children_are_waited_for_and_stopped_where_the_kernel_has_no_pidfd(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "pidfd_open")

    async def run() -> None:
        child = await stage.start(ESCAPE + "escape(lambda: (print('up', flush=True), time.sleep(60)))\nos._exit(5)")
        assert await asyncio.wait_for(child.wait(), 10) == 5
        await stage.says("up")
        stopped = await stop(child, grace=1)
        assert (stopped.exit_status, len(stopped.reaped)) == (5, 1)
        assert stage.left() == []

    asyncio.run(run())


FLOOD = """
import os, signal, sys, time
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
os.write(1, b"starting\\n")
{first}
line, written = b"again and again\\n" * 4096, 0
while written < 96 << 20:
    written += os.write(1, line)
    time.sleep(0.0005)
os.write(1, b"out of memory\\n")
"""
WHEN_ASKED = "signal.sigwait([signal.SIGTERM])"


@pytest.mark.parametrize("first", ["", WHEN_ASKED, f"{WHEN_ASKED}; os.fork() and os._exit(0)"])
def test_an_output_that_nobody_follows_fills_no_disk(stage: Stage, monkeypatch: pytest.MonkeyPatch, first: str) -> None:
    """While a service runs, while it is asked to end, and by what outlives it."""
    monkeypatch.setattr(child, "_LARGEST_OUTPUT", 8 * MIB)
    monkeypatch.setattr(child, "_KEPT_OF_OUTPUT", MIB)
    monkeypatch.setattr(child, "_LOOK_AT_OUTPUT", 0.01)
    monkeypatch.setattr(processes, "LEFTOVER_GRACE", HANG)
    most = 0

    async def run() -> None:
        nonlocal most
        started = await stage.start(FLOOD.format(first=first))
        await stage.says("starting")
        watched = asyncio.ensure_future(stop(started, grace=HANG) if first else started.wait())
        while not watched.done():
            most = max(most, stage.output.stat().st_blocks * 512)
            await asyncio.sleep(0.01)
        await stop(started, grace=1)

    asyncio.run(run())
    content = stage.output.read_bytes()
    assert len(content) > 96 * MIB, "every offset stays what it was"
    assert content.startswith(b"starting\nagain and again\n")
    assert content.endswith(b"again and again\nout of memory\n")
    assert re.findall(rb"\n\[serviceopt: (\d+) bytes were left out here\]\n", content)
    assert most < 64 * MIB


def test_a_child_whose_group_may_not_be_signalled_is_abandoned_by_its_other_signs(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(_group: int, _number: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    async def run() -> None:
        started = await stage.start(SLEEP)
        await stage.says("up")
        monkeypatch.setattr(os, "killpg", forbidden)
        started.abandon()
        async with asyncio.timeout(HANG):
            await started.wait()

    asyncio.run(run())
    assert stage.left() == []
