from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from child_stage import ESCAPE, Stage, until
from serviceopt_journal.errors import EnvironmentLacks
from serviceoptd.io import cgroups
from serviceoptd.io.processes import stop
from serviceoptd.io.reaping import reap

MOUNT = "30 24 0:26 {root} {point} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"


def proc_with(directory: Path, membership: str, mounts: str) -> Path:
    (directory / "cgroup").write_text(membership)
    (directory / "mountinfo").write_text(mounts)
    return directory


def test_our_cgroup_is_found_below_its_mount(tmp_path: Path) -> None:
    other = "29 24 0:25 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    plain = proc_with(
        tmp_path, "0::/system.slice/serviceoptd.service\n", other + MOUNT.format(root="/", point="/sys/fs/cgroup")
    )
    assert cgroups.own_cgroup(plain) == Path("/sys/fs/cgroup/system.slice/serviceoptd.service")
    hybrid = proc_with(tmp_path, "4:memory:/x\n0::/a\n", other + MOUNT.format(root="/", point="/sys/fs/cgroup/unified"))
    assert cgroups.own_cgroup(hybrid) == Path("/sys/fs/cgroup/unified/a")
    contained = proc_with(tmp_path, "0::/docker/1/a\n", MOUNT.format(root="/docker/1", point="/sys/fs/cgroup"))
    assert cgroups.own_cgroup(contained) == Path("/sys/fs/cgroup/a")


@pytest.mark.parametrize(
    ("membership", "mounts"),
    [
        ("4:memory:/x\n", MOUNT.format(root="/", point="/sys/fs/cgroup")),
        ("0::/a\n", ""),
        ("0::/a\n", MOUNT.format(root="/b", point="/sys/fs/cgroup")),
        ("0::/../outside\n", MOUNT.format(root="/inner", point="/sys/fs/cgroup")),
    ],
)
def test_where_there_is_no_cgroup_of_version_2_there_is_none_of_ours(
    tmp_path: Path, membership: str, mounts: str
) -> None:
    assert cgroups.own_cgroup(proc_with(tmp_path, membership, mounts)) is None
    assert cgroups.own_cgroup(tmp_path / "absent") is None


def test_a_cgroup_that_we_can_write_is_not_ours_until_somebody_says_so(tmp_path: Path) -> None:
    (tmp_path / "cgroup.procs").touch()
    assert not cgroups.is_delegated(tmp_path, {})
    assert cgroups.is_delegated(tmp_path, {"SERVICEOPT_CGROUP": "1"})
    (tmp_path / "cgroup.procs").unlink()
    assert not cgroups.is_delegated(tmp_path, {"SERVICEOPT_CGROUP": "1"})


def test_in_an_ordinary_terminal_nothing_is_prepared() -> None:
    before = Path("/proc/self/cgroup").read_text()
    assert cgroups.prepare({}) is None
    assert Path("/proc/self/cgroup").read_text() == before


def test_the_attribute_that_systemd_sets_means_delegation(real_cgroup: Path) -> None:
    assert not cgroups.is_delegated(real_cgroup, {})
    os.setxattr(real_cgroup, "user.delegate", b"1")
    assert cgroups.is_delegated(real_cgroup, {})


def test_the_daemon_moves_into_a_leaf_and_finds_the_same_place_again(real_cgroup: Path) -> None:
    code = """
import os, pathlib, sys
from serviceoptd.io import cgroups
pathlib.Path(sys.argv[1], "cgroup.procs").write_text("0")
print(cgroups.prepare(), cgroups.own_cgroup(), cgroups.prepare())
"""
    answer = subprocess.run(
        [sys.executable, "-c", code, str(real_cgroup)],
        env={"SERVICEOPT_CGROUP": "1"},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert answer.stdout.split() == [str(real_cgroup), str(real_cgroup / "daemon"), str(real_cgroup)]


def test_a_child_is_in_its_cgroup_from_its_first_instruction_and_the_cgroup_goes_with_it(
    stage: Stage, real_cgroup: Path
) -> None:
    stage.cgroup = cgroups.create(real_cgroup, stage.launch_id)

    async def run() -> None:
        child = await stage.start("print(open('/proc/self/cgroup').read(), flush=True); import time; time.sleep(60)")
        printed = await stage.says("0::")
        assert f"/launch-{stage.launch_id}" in printed.split("0::")[1]
        assert stage.cgroup is not None
        assert cgroups.processes(stage.cgroup) == (child.pid,)
        assert not cgroups.remove(stage.cgroup)
        stopped = await stop(child, grace=10)
        assert stopped.exit_status == -signal.SIGTERM
        assert not stage.cgroup.exists()

    asyncio.run(run())


def test_a_process_that_left_every_other_sign_is_ended_by_its_cgroup(stage: Stage, real_cgroup: Path) -> None:
    stage.cgroup = cgroups.create(real_cgroup, stage.launch_id)
    # No environment, no output, no parent, no session in common; and SIGTERM is ignored.
    code = (
        ESCAPE
        + """
import signal
def forget():
    nothing = os.open('/dev/null', os.O_RDWR)
    os.dup2(nothing, 1); os.dup2(nothing, 2)
    signal.signal(15, signal.SIG_IGN)
    os.execve(sys.executable, [sys.executable, '-ISc', 'import time; time.sleep(60)'], {})
escape(forget)
"""
    )

    async def run() -> None:
        child = await stage.start(code)
        assert await child.wait() == 0
        assert stage.cgroup is not None
        place = stage.cgroup
        (place / "below").mkdir()

        def forgotten() -> bool:
            pids = [pid for pid in cgroups.processes(place) if pid != child.pid]
            return len(pids) == 1 and not Path(f"/proc/{pids[0]}/environ").read_bytes()

        await until(forgotten)
        reaped = await reap(stage.launch_id, place, grace=0.05)
        assert len(reaped) == 1
        assert not place.exists()
        await stop(child, grace=1)

    asyncio.run(run())


def test_only_cgroups_of_launches_are_ever_killed_or_removed(stage: Stage, real_cgroup: Path) -> None:
    other = real_cgroup / "important"
    other.mkdir()

    async def run() -> None:
        child = await stage.start("import time; print('up', flush=True); time.sleep(60)")
        await stage.says("up")
        (other / "cgroup.procs").write_text(str(child.pid))
        cgroups.kill(other)
        assert cgroups.processes(other) == ()
        assert not cgroups.remove(other)
        assert await reap("another-launch", other) == ()
        assert child.alive
        await stop(child, grace=10)

    asyncio.run(run())
    assert other.is_dir()


def test_a_launch_id_cannot_lead_outside(tmp_path: Path) -> None:
    assert cgroups.path_of(tmp_path, "0a-9f") == tmp_path / "launch-0a-9f"
    for launch_id in ("../x", "", "a/b", "a b"):
        with pytest.raises(ValueError, match="not a launch id"):
            cgroups.path_of(tmp_path, launch_id)
    with pytest.raises(EnvironmentLacks, match="cannot be made"):
        cgroups.create(tmp_path / "absent", "0a")
