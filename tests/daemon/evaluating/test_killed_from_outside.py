"""Somebody kills the service or the client: once says nothing of the configuration, twice in a row does."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon.service.daemons import a_loop, finished, submitted
from memory_journal import MemoryJournal
from serviceopt_journal import events as e
from serviceoptd.domain.failures import KILLED, cause_of
from serviceoptd.domain.state import RunState
from serviceoptd.io.launched_processes import Launch
from stubs.scenario import assert_sound, of_type, stub_run


@pytest.fixture(autouse=True)
def children_obey_a_hangup() -> Iterator[None]:
    """Also where the tests run under nohup, whose children inherit that SIGHUP is ignored. The daemon handles it itself."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def killed(directory: Path, journal: MemoryJournal, whom: str, number: int, *, times: int) -> RunState:
    """A run without retries whose service or client gets this signal while it is measured, so many times."""
    going_on = directory / "go-on"

    async def kill(launch_id: str) -> None:
        await asyncio.sleep(0.5)  # a stub that has begun, rather than an interpreter that starts
        while not (found := Launch(launch_id).processes()):
            await asyncio.sleep(0.02)
        for handle in found:
            handle.signal(number)
            handle.close()

    async def story() -> RunState:
        context, loop = a_loop(directory, journal)
        text = stub_run(directory, n_particles=2, iters=1, client=f"--stub-hold {going_on}").read_text()
        text = text.replace("[measurement]\n", "[measurement]\nattempts = 1\n") + '[search]\nstrategy = "pso"\n'
        launched: list[str] = []
        killing: list[asyncio.Task[None]] = []

        def look(record: Any, _state: Any) -> None:
            if isinstance(record.event, e.ServiceLaunching):
                launched.append(record.event.launch_id)
            if isinstance(record.event, e.MeasurementStarted) and len(killing) < times:
                target = launched[-1] if whom == "service" else record.event.launch_id
                killing.append(asyncio.ensure_future(kill(target)))
            elif isinstance(record.event, e.MeasurementStarted):
                going_on.touch()

        context.ledger.listen(look)
        return await finished(context, loop, await submitted(context, text))

    return asyncio.run(story())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("whom", ["service", "client"])
def test_what_is_killed_once_is_measured_once_more(tmp_path: Path, whom: str, number: int) -> None:
    journal = MemoryJournal()
    run = killed(tmp_path, journal, whom, number, times=1)
    failed = of_type(journal.records, e.MeasurementFailed)
    assert [(each.cause, each.will_retry) for each in failed] == [(KILLED, True)]
    assert len(of_type(journal.records, e.MeasurementFinished)) == 2
    assert not any(particle.error for particle in run.particles.values())
    assert_sound(journal.records)


@pytest.mark.parametrize("whom", ["service", "client"])
def test_what_is_killed_twice_in_a_row_is_a_result(tmp_path: Path, whom: str) -> None:
    journal = MemoryJournal()
    run = killed(tmp_path, journal, whom, signal.SIGKILL, times=2)
    failed = of_type(journal.records, e.MeasurementFailed)
    assert [(each.cause, each.will_retry) for each in failed] == [(KILLED, True), (KILLED, False)]
    assert [particle.cause for particle in run.particles.values()] == [KILLED, ""]
    assert_sound(journal.records)


@pytest.mark.parametrize(("status", "outside"), [(-9, True), (137, True), (143, True), (-15, True), (1, False), (-11, False),
                                                 (139, False), (0, False), (None, False)])  # fmt: skip
def test_a_fault_of_its_own_is_no_kill(status: int | None, outside: bool) -> None:
    assert (cause_of("", status) == KILLED) is outside
    assert cause_of("model", status) == "model"
