"""A disk that fills, a directory that vanishes, descriptors that are used up: measured again, never a result."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from daemon.service.daemons import a_loop, submitted
from memory_journal import MemoryJournal
from patience import HANG
from serviceopt_journal import events as e
from serviceoptd.domain.failures import OUT_OF_MEMORY
from serviceoptd.domain.holding.interruptions import MOST
from serviceoptd.domain.state import RunState
from serviceoptd.evaluating.context import Context
from serviceoptd.evaluating.surroundings import room
from serviceoptd.io import log
from serviceoptd.service import closing
from stubs.scenario import assert_sound, left_over, of_type, stub_run


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(closing, "PAUSES", (0.01,))
    monkeypatch.setattr("serviceoptd.evaluating.ledger.RETRY_AFTER", 0.05)
    log.configure("ERROR")
    yield
    structlog.reset_defaults()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    mounted = tmp_path / "small"
    mounted.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    mounting = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", mounted], capture_output=True, check=False
    )
    if mounting.returncode != 0:
        pytest.skip("no file system can be mounted here")
    try:
        yield mounted
    finally:
        subprocess.run(["umount", "--lazy", mounted], check=True)


def fill(directory: Path) -> None:
    with (directory / "ballast").open("wb", buffering=0) as file:
        for size in (65536, 4096, 512):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue


Disturbance = Callable[[Context], Awaitable[None]]


def disturbed(
    directory: Path, journal: MemoryJournal, during: type[e.Event], disturb: Disturbance, **options: Any
) -> RunState:
    """A run on the stub programs in `directory`, until it is over or held; `disturb` begins with the first such event."""

    async def story() -> RunState:
        context, work = a_loop(directory, journal)
        text = stub_run(directory.parent / "configuration", n_particles=2, iters=1, **options).read_text()
        text += '[search]\nstrategy = "pso"\n'  # whose proposals do not depend on what a launch took
        number = await submitted(context, text, environment=dict(os.environ))
        begun: list[asyncio.Task[None]] = []

        def look(record: Any, state: Any) -> None:
            if isinstance(record.event, during) and not begun:
                begun.append(asyncio.ensure_future(disturb(context)))  # type: ignore[arg-type]
            if state.runs[number].over or state.runs[number].held:
                work.stop("seen enough")

        context.ledger.listen(look)
        async with asyncio.timeout(HANG):
            await work.run_forever()
            await begun[0]
        return context.ledger.state.runs[number]

    return asyncio.run(story())


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.02)


def results(run: RunState) -> list[object]:
    return [(particle.configuration, particle.measurements) for particle in run.particles.values()]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    directory = tmp_path_factory.mktemp("undisturbed") / "state"

    async def nothing(_context: Context) -> None:
        pass

    return results(disturbed(directory, MemoryJournal(), e.ServiceReady, nothing))


def assert_only_interrupted(
    journal: MemoryJournal, run: RunState, undisturbed: list[object], phase: str, said: str
) -> None:
    (interruption,) = of_type(journal.records, e.SurroundingsFailed)
    assert interruption.phase == phase
    assert said in interruption.reason
    assert of_type(journal.records, e.MeasurementFailed, e.ServiceFailed) == []
    assert run.outcome == "completed"
    assert results(run) == undisturbed
    assert_sound(journal.records)


@pytest.mark.parametrize("where", ["state", "TMPDIR", "cache"])
def test_a_disk_that_fills_while_it_is_measured_costs_no_result(
    small_disk: Path, tmp_path: Path, undisturbed: list[object], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """With the client's result half written; in other places it fails for want of them."""
    going_on = tmp_path / "go-on"
    if where != "state":
        monkeypatch.setenv("TMPDIR" if where == "TMPDIR" else "XDG_CACHE_HOME", str(small_disk))
    journal = MemoryJournal()

    async def disturb(context: Context) -> None:
        await until((tmp_path / "once").exists)
        fill(small_disk)
        going_on.touch()
        await until(lambda: context.ledger.held)
        assert "no room" in context.ledger.held
        assert left_over(journal.records) == {}
        (small_disk / "ballast").unlink()

    client = f"--stub-hold {going_on} --stub-once {tmp_path / 'once'}"
    if where != "state":
        client += " --stub-lie half-a-file"
    state = small_disk if where == "state" else tmp_path / "state"
    run = disturbed(state, journal, e.MeasurementStarted, disturb, client=client)
    assert_only_interrupted(journal, run, undisturbed, "measuring", "no room in")
    assert of_type(journal.records, e.WritingHeld)


def test_what_fails_after_the_disk_was_full_is_measured_again(
    small_disk: Path, tmp_path: Path, undisturbed: list[object]
) -> None:
    """What was cut off while there was no room is still cut off when there is room."""
    going_on = tmp_path / "go-on"
    journal = MemoryJournal()

    async def disturb(_context: Context) -> None:
        await until((tmp_path / "once").exists)
        fill(small_disk)
        await asyncio.sleep(1.5)
        (small_disk / "ballast").unlink()
        going_on.touch()

    client = f"--stub-hold {going_on} --stub-once {tmp_path / 'once'} --stub-lie half-a-file"
    run = disturbed(small_disk, journal, e.MeasurementStarted, disturb, client=client)
    assert_only_interrupted(journal, run, undisturbed, "measuring", "no room in")


def test_a_bad_result_with_room_enough_stays_a_result(tmp_path: Path) -> None:
    journal = MemoryJournal()

    async def nothing(_context: Context) -> None:
        pass

    client = f"--stub-once {tmp_path / 'once'} --stub-lie half-a-file"
    run = disturbed(tmp_path / "state", journal, e.ServiceReady, nothing, client=client)
    assert len(of_type(journal.records, e.MeasurementFailed)) == 1
    assert of_type(journal.records, e.SurroundingsFailed) == []
    assert run.outcome == "completed"


@pytest.mark.parametrize("line", [
    "OSError: [Errno 28] No space left on device: /root/.cache/vllm/torch_compile_cache",
    "OSError: [Errno 122] Disk quota exceeded",
])  # fmt: skip
def test_a_launch_whose_cache_is_full_by_its_own_words_is_tried_again(
    tmp_path: Path, undisturbed: list[object], line: str
) -> None:
    journal = MemoryJournal()

    async def nothing(_context: Context) -> None:
        pass

    service = f"--stub-hang --stub-log '{line}' --stub-die-after 0.2 --stub-once {tmp_path / 'once'}"
    run = disturbed(tmp_path / "state", journal, e.ServiceLaunching, nothing, service=service)
    assert_only_interrupted(journal, run, undisturbed, "launching", line.partition(":")[0])


def test_a_launch_that_fills_its_cache_each_time_holds_the_run(tmp_path: Path) -> None:
    journal = MemoryJournal()

    async def nothing(_context: Context) -> None:
        pass

    service = "--stub-hang --stub-log 'OSError: [Errno 28] No space left on device' --stub-die-after 0.1"
    run = disturbed(tmp_path / "state", journal, e.ServiceLaunching, nothing, service=service)
    assert run.held
    assert f"{MOST} interruptions in a row while launching" in run.paused
    assert "No space left on device" in run.paused
    assert not any(particle.error for particle in run.particles.values())
    assert_sound(journal.records)


def test_shared_memory_that_is_full_depends_on_the_parameters_and_is_a_result(tmp_path: Path) -> None:
    journal = MemoryJournal()

    async def nothing(_context: Context) -> None:
        pass

    service = (
        "--stub-hang --stub-log 'OSError: [Errno 28] No space left on device: /dev/shm/psm_1' --stub-die-after 0.1 "
        f"--stub-once {tmp_path / 'once'}"
    )
    disturbed(tmp_path / "state", journal, e.ServiceLaunching, nothing, service=service)
    (failed,) = of_type(journal.records, e.ServiceFailed)
    assert failed.cause == OUT_OF_MEMORY
    assert of_type(journal.records, e.SurroundingsFailed) == []


def test_a_run_directory_that_is_removed_while_it_is_measured_costs_no_result(
    tmp_path: Path, undisturbed: list[object]
) -> None:
    going_on = tmp_path / "go-on"
    journal = MemoryJournal()

    async def disturb(context: Context) -> None:
        await until((tmp_path / "once").exists)
        shutil.rmtree(context.state_directory / "runs")
        going_on.touch()

    client = f"--stub-hold {going_on} --stub-once {tmp_path / 'once'}"
    run = disturbed(tmp_path / "state", journal, e.MeasurementStarted, disturb, client=client)
    assert_only_interrupted(journal, run, undisturbed, "measuring", "was removed")


def test_a_small_rest_of_a_large_disk_is_room_and_of_a_small_one_too(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not room.no_room(small_disk)
    (small_disk / "most").write_bytes(b"x" * (7 * 1024 * 1024))
    assert not room.no_room(small_disk)
    fill(small_disk)
    assert "no room in" in room.no_room(small_disk)
    assert room.lacking(room.Places((small_disk,)))
    assert room.no_room(small_disk / "absent") == ""


def test_a_file_system_without_inodes_has_no_room(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,nr_inodes=10", small_disk], check=True)
    for number in range(20):
        try:
            (small_disk / str(number)).touch()
        except OSError:
            break
    assert "no inode left" in room.no_room(small_disk)


def test_a_state_directory_that_becomes_read_only_is_told(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert "has become read-only" in room.lacking(room.Places((small_disk,)))
