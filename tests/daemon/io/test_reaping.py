from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from child_stage import ESCAPE, Stage, lives, until
from patience import HANG
from serviceoptd.io import process_table, reaping
from serviceoptd.io.launched_processes import LAUNCH_ID
from serviceoptd.io.process_table import ProcessHandle
from serviceoptd.io.reaping import reap

SLEEPER = "import time; time.sleep(60)"


def started_by_an_earlier_daemon(stage: Stage, code: str, **variables: str) -> subprocess.Popen[bytes]:
    """A launch that this process knows nothing of but its id, as after a crash."""
    with stage.output.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", code],
            env={**stage.environment, LAUNCH_ID: stage.launch_id, **variables},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def test_a_grandchild_is_ended_though_its_leader_is_dead_and_it_called_setsid(stage: Stage) -> None:
    code = ESCAPE + "def work(): print(os.getpid(), flush=True); time.sleep(60)\nescape(work)"
    assert started_by_an_earlier_daemon(stage, code).wait(HANG) == 0

    async def run() -> None:
        worker = int(await stage.says("\n"))
        assert await reap(stage.launch_id) == (worker,)
        assert not lives(worker)
        assert await reap(stage.launch_id) == ()

    asyncio.run(run())


def test_a_process_of_another_launch_is_not_touched(stage: Stage) -> None:
    mine = started_by_an_earlier_daemon(stage, SLEEPER)
    others = [
        started_by_an_earlier_daemon(stage, SLEEPER, **{LAUNCH_ID: other})
        for other in (stage.launch_id + "0", stage.launch_id[:-1], "x")
    ]
    assert asyncio.run(reap(stage.launch_id)) == (mine.pid,)
    assert mine.wait(HANG) == -signal.SIGTERM
    assert all(other.poll() is None for other in others)
    for other in others:
        other.kill()
        other.wait(HANG)


def test_a_process_that_wiped_its_environment_is_known_by_where_it_prints(stage: Stage) -> None:
    forgetful = started_by_an_earlier_daemon(stage, SLEEPER, **{LAUNCH_ID: "overwritten"})
    assert asyncio.run(reap(stage.launch_id)) == ()
    assert asyncio.run(reap(stage.launch_id, output=stage.output)) == (forgetful.pid,)
    assert forgetful.wait(HANG) == -signal.SIGTERM


def test_a_process_without_any_sign_is_known_by_its_living_parent(stage: Stage) -> None:
    code = f"""
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, '-ISc', '{SLEEPER}'], env={{}}, stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL, start_new_session=True)
time.sleep(0.5)  # until it has been executed, also on a busy machine
print(child.pid, flush=True)
time.sleep(60)
"""
    leader = started_by_an_earlier_daemon(stage, code)

    async def run() -> None:
        child = int(await stage.says("\n"))
        assert sorted(await reap(stage.launch_id)) == sorted((leader.pid, child))
        assert not lives(child)

    asyncio.run(run())
    leader.wait(HANG)


def test_a_tree_that_goes_on_forking_is_ended_whole(stage: Stage) -> None:
    code = """
import os, signal, threading, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
def fork(generation):
    for _ in range(10 if generation < 2 else 0):  # 220 in all: more than a busy machine has to bear is no better test
        if os.fork() == 0:
            os.setsid()
            fork(generation + 1)
            os._exit(0)
        time.sleep(0.05)
    time.sleep(60)
for _ in range(2):
    threading.Thread(target=fork, args=(0,)).start()
print('up', flush=True)
"""
    leader = started_by_an_earlier_daemon(stage, code)

    async def run() -> None:
        await stage.says("up")
        await until(lambda: len(stage.left()) > 6)
        reaped = await reap(stage.launch_id, grace=0.1)
        assert len(reaped) > 6
        assert stage.left() == []

    asyncio.run(run())
    leader.wait(HANG)


def test_a_process_whose_leading_thread_ended_is_still_found(stage: Stage) -> None:
    code = """
import ctypes, threading, time
threading.Thread(target=lambda: (time.sleep(0.05), print('up', flush=True), time.sleep(60))).start()
ctypes.CDLL(None).pthread_exit(None)
"""
    leader = started_by_an_earlier_daemon(stage, code)

    async def run() -> None:
        await stage.says("up")
        found = process_table.stat(leader.pid)
        assert found is not None
        assert found.state == "Z"
        assert await reap(stage.launch_id) == (leader.pid,)

    asyncio.run(run())
    assert leader.wait(HANG) == -signal.SIGTERM


def test_a_process_may_clean_up_before_it_is_killed(stage: Stage) -> None:
    code = """
import signal, sys, time
signal.signal(15, lambda *_: (print('cleaned', flush=True), sys.exit(0)))
print('up', flush=True)
time.sleep(60)
"""
    leader = started_by_an_earlier_daemon(stage, code)

    async def run() -> None:
        await stage.says("up")
        assert await reap(stage.launch_id, grace=10) == (leader.pid,)

    asyncio.run(run())
    assert leader.wait(HANG) == 0
    assert "cleaned" in stage.printed()


def test_a_stop_command_of_the_earlier_daemon_is_ended_too(stage: Stage) -> None:
    stopper = started_by_an_earlier_daemon(stage, SLEEPER, **{LAUNCH_ID: reaping.stop_command_id(stage.launch_id)})
    assert asyncio.run(reap(stage.launch_id)) == (stopper.pid,)
    stopper.wait(HANG)


def test_zombies_are_nobody(stage: Stage) -> None:
    ended = started_by_an_earlier_daemon(stage, "pass")
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    assert asyncio.run(reap(stage.launch_id, output=stage.output)) == ()
    ended.wait(HANG)


def test_nobody_reaps_itself(stage: Stage) -> None:
    code = f"""
import asyncio, sys
from serviceoptd.io.reaping import reap
print(asyncio.run(reap({stage.launch_id!r})))
"""
    answer = subprocess.run(
        [sys.executable, "-c", code], env={LAUNCH_ID: stage.launch_id}, capture_output=True, timeout=30, check=True
    )
    assert answer.stdout == b"()\n"


@pytest.mark.parametrize("with_pidfd", [True, False])
def test_a_handle_never_signals_whoever_gets_the_pid_later(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, with_pidfd: bool
) -> None:
    if not with_pidfd:
        monkeypatch.delattr(os, "pidfd_open")
    sleeper = started_by_an_earlier_daemon(stage, SLEEPER)
    handle = ProcessHandle(sleeper.pid)
    assert not handle.ended
    assert handle.signal(signal.SIGTERM)
    sleeper.wait(HANG)
    assert handle.ended
    assert not handle.signal(signal.SIGTERM)
    handle.close()
    with pytest.raises(ProcessLookupError):
        ProcessHandle(sleeper.pid)


def test_without_pidfd_a_process_with_another_start_time_is_another_process(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    sleeper = started_by_an_earlier_daemon(stage, SLEEPER)
    handle = ProcessHandle(sleeper.pid)
    handle.started -= 1  # as if the pid had been another's when the handle was made
    assert handle.ended
    assert not handle.signal(signal.SIGKILL)
    assert sleeper.poll() is None
    sleeper.kill()
    sleeper.wait(HANG)


def test_a_cgroup_that_is_still_emptying_is_removed_a_moment_later(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cgroup = tmp_path / "launch-emptying"
    answers = [True, False, False]

    def remove(path: Path) -> bool:
        assert path == cgroup
        return answers.pop()

    monkeypatch.setattr("serviceoptd.io.reaping.cgroups.remove", remove)
    assert asyncio.run(reap(stage.launch_id, cgroup)) == ()
    assert not answers
