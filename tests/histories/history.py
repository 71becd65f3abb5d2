"""One seed, one history: a run (or two) from its submission to its end, through whatever goes wrong on the way."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import logging
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import structlog

from histories.faults import Faults
from histories.programs import Programs
from histories.promises import Promises
from histories.virtual_time import Stuck, VirtualLoop
from histories.world import Killed, Process, World, child_of
from memory_journal import MemoryJournal
from serviceopt_journal.artefacts import ArtefactStore
from serviceopt_journal.codec import Recorded, encode_commit
from serviceopt_journal.documents.requests import Submission
from serviceopt_journal.errors import JournalFull
from serviceopt_journal.events import DaemonStarted, Event
from serviceoptd.config import plugins
from serviceoptd.domain.evolve import fold
from serviceoptd.domain.state import State
from serviceoptd.evaluating import launching
from serviceoptd.evaluating.context import Context
from serviceoptd.evaluating.ledger import Ledger
from serviceoptd.io import http_probe, launched_processes, processes, readiness
from serviceoptd.io.ports import PortHolder, PortTaken
from serviceoptd.service import control
from serviceoptd.service.daemon import Daemon
from serviceoptd.service.loop import Loop
from serviceoptd.submitting.preparing import prepare
from serviceoptd.submitting.submission import submit
from stubs.scenario import stub_run

TROUBLED = 40.0  # seconds during which things go wrong
LONGEST = 3600.0  # seconds within which every run has to be over
OPERATOR = 8.0  # seconds between two looks of somebody who resumes what is held or paused
HASH = re.compile(rb"[0-9a-f]{64}")  # of what names the directory of the history, which is another one each time
STRATEGIES = (
    "pso",
    "pso",
    "pso",
    "random",
    "random",
    "random",
    "random",
    "swarm",
)  # the models of `swarm` take their time


@dataclass(frozen=True)
class Told:
    """What became of a history. `digest`: equal for equal seeds; `reached`: faults by kind and phase."""

    seed: int
    digest: str
    broken: tuple[str, ...]
    reached: Counter[tuple[str, str]]
    events: int
    lives: int
    seconds: float  # of the world
    outcomes: tuple[str, ...]
    records: tuple[Recorded, ...]


@dataclass(frozen=True)
class Calm:
    """A history in which nothing goes wrong, but that the daemon is killed once."""

    strategy: str
    iterations: int | None = None
    killed_after: int | None = None  # number of an event, after whose commit it dies


class _Journal(MemoryJournal):
    """The journal of the world: stamped by its clock, full when its disk is."""

    def __init__(self, world: World, faults: Faults, records: list[Recorded]) -> None:
        super().__init__()
        self.records = records
        self._world, self._faults = world, faults

    def append(self, *events: Event) -> tuple[Recorded, ...]:
        self._world.must_live()
        self._faults.before_append()
        clock = self._world.clock
        _, appended = encode_commit(
            events, first_seq=len(self.records) + 1, time=clock.wall(), monotonic=clock.monotonic(),
            boot_id=clock.boot_id(),
        )  # fmt: skip
        self.records.extend(appended)
        self._faults.after_append(appended[-1].seq)
        return appended


class _History:
    def __init__(self, seed: int, directory: Path, calm: Calm | None = None) -> None:
        self.seed, self.directory, self.calm = seed, directory, calm
        self.world = World(seed)
        self.programs = Programs(self.world, faults=0)
        self.bystander = self.world.begin("bystander", "of somebody else")
        self.promises = Promises(self.world, self.programs, self.bystander, began=self.world.clock.now)
        self.faults = Faults(self.world, self.programs, self._phase, self._ask)
        self.records: list[Recorded] = []
        self.state = State()
        self.ledger: Ledger | None = None
        self.lives = 0
        self.world.started = self._started
        self.world.answers = self.programs.answer
        self.world.last_moment = self.world.clock.now + LONGEST

    def run(self) -> Told:
        random = self.world.random
        calm = self.calm or Calm(random.choice(STRATEGIES))
        directory = self.directory
        self.text = stub_run(
            directory, n_particles=2, iters=calm.iterations or random.choice((1, 2, 3)), seed=random.randrange(5),
            repeats=random.choice((1, 2)), confirmations=random.choice((0, 3)), launch_timeout=2.0,
            measurement_timeout=4.0, port=8000, top="",
        ).read_text()  # fmt: skip
        self.text += f'\n[search]\nstrategy = "{calm.strategy}"\n'
        if self.calm is None:
            self.faults.plan(until=self.world.clock.now + TROUBLED)
        self.faults.kill_after = calm.killed_after
        self.world.after(OPERATOR, self._operate)
        while not (self.state.runs and all(run.over for run in self.state.runs.values())):
            if not self._live():
                break
        self.promises.at_end(self.records, self.state)
        return self._told()

    def _live(self) -> bool:
        """One life of the daemon; False: it cannot go on."""
        world = self.world
        self.lives += 1
        world.dead = False
        loop = world.loop = VirtualLoop(world.clock, world.pass_time)
        loop.set_exception_handler(lambda _loop, _context: None)  # tasks of a daemon that was killed
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(self._work())
            self.promises.after_an_orderly_end()
        except Killed:
            pass
        except (
            JournalFull
        ) as full:  # told to stop while nothing can be written: it ends its services, and replay decides
            if not self.daemon.loop.stopping:
                self.promises.broken.append(f"ends only when told: {full}")
            self.promises.after_an_orderly_end()
        except Stuck as stuck:
            self.promises.broken.append(f"goes on: {stuck}")
            return False
        except Exception as error:  # noqa: BLE001 - whatever it is: the daemon must not end so
            self.promises.broken.append(f"ends only when told: {type(error).__name__}: {error}")
            return False
        finally:
            world.dead = True
            world.loop = None
            if self.ledger is not None:
                self.promises.at_end_of_life(self.records, self.ledger.state)
            self.ledger = None
            self.state = State()
            for record in self.records:
                self.state = fold(self.state, record)
            for task in asyncio.all_tasks(loop):
                task._log_destroy_pending = False  # type: ignore[attr-defined]
            loop.close()
        world.dead = False
        world.pass_alone(world.random.uniform(0.1, 5.0))
        return True

    async def _work(self) -> None:
        clock = self.world.clock
        ledger = self.ledger = Ledger(_Journal(self.world, self.faults, self.records), self.state, clock)
        context = Context(
            ledger=ledger, clock=clock, state_directory=self.directory / "state",
            artefacts=ArtefactStore(self.directory / "state"), engine_class=plugins.engine_class,
            benchmark_class=plugins.benchmark_class,
        )  # fmt: skip
        self.context = context
        daemon = Daemon(context, Loop(context), standalone=False)
        self.daemon = daemon
        ledger.listen(self.promises.at)
        ledger.listen(lambda _, state: daemon.loop.stop("over") if _over(state) else None)
        await self._started_up(daemon)
        if not self.state.runs:
            await self._submit()
        await daemon.work()

    async def _started_up(self, daemon: Daemon) -> None:
        """As `bootstrap` does it: a full disk is waited for."""
        while True:
            try:
                return await daemon.start(replayed=self.state.seq)
            except JournalFull:
                await asyncio.sleep(1.0)

    async def _submit(self) -> None:
        submission = Submission(configuration_text=self.text, working_directory=str(self.directory))
        await submit(self.context, prepare(submission, self.context, tool_prefix=None), uid=0, through="standalone")

    def _started(self, process: Process) -> None:
        self.promises.at_start_of(process)
        self.programs.begin(process)

    def _phase(self) -> str:
        if self.ledger is None:
            return "no daemon"
        run = next(iter(self.ledger.state.queue()), None)
        if run is None:
            return "no run"
        if run.evaluation is None:
            return "between evaluations"
        return "measuring" if run.evaluation.measuring else run.evaluation.phase

    def _ask(self, wish: str) -> None:
        """A user does this, if the daemon lives."""
        if self.ledger is None or self.world.loop is None or not self.ledger.state.queue():
            return
        ledger, run = self.ledger, self.ledger.state.queue()[0]
        match wish:
            case "run paused":
                self._do(control.pause(ledger, run, "later"))
            case "run cancelled":
                self._do(control.cancel(ledger, run, "enough"))
            case "another run submitted":
                if len(ledger.state.runs) < 2:
                    self._do(self._submit())

    def _do(self, work: Any) -> None:
        assert self.world.loop is not None
        self.world.loop.create_task(work)

    def _operate(self) -> None:
        """Somebody resumes whatever is held or paused."""
        self.world.after(OPERATOR, self._operate)
        if self.ledger is None or self.world.loop is None or self.ledger.held:
            return
        for run in self.ledger.state.queue():
            if run.paused and not run.cancel_requested:
                self._do(control.resume(self.ledger, run, "looked at"))

    def _told(self) -> Told:
        digest = hashlib.sha256()
        for record in self.records:
            if not isinstance(record.event, DaemonStarted):
                told = msgspec.json.encode(record.event).replace(str(self.directory).encode(), b"HERE")
                digest.update(HASH.sub(b"HASH", told) + b"\n")
        return Told(
            seed=self.seed, digest=digest.hexdigest(), broken=tuple(self.promises.broken), reached=self.faults.reached,
            events=len(self.records), lives=self.lives, seconds=self.world.clock.now - self.promises.began,
            outcomes=tuple(run.outcome or run.status for run in self.state.runs.values()), records=tuple(self.records),
        )  # fmt: skip


def _over(state: State) -> bool:
    return bool(state.runs) and all(run.over for run in state.runs.values())


def _free(world: World) -> Callable[[str, int], None]:
    def ensure_free(host: str, port: int) -> None:
        if world.clock.now < world.port_taken_until:
            raise PortTaken(host, port, PortHolder(4000, "of-somebody-else"))

    return ensure_free


async def _no_devices(environment: object) -> dict[str, int]:
    return {}


async def _no_tls(request: object, limit: float) -> bool:
    return False


@contextmanager
def _in(world: World, planted: Sequence[tuple[object, str, object]]) -> Iterator[None]:
    """The daemon's modules meet this world in place of the machine."""
    silent = mock.patch.object(sys, "unraisablehook")  # what a killed daemon's coroutines say at their end
    replaced: list[tuple[object, str, object]] = [
        (processes, "_popen", world.popen),
        (processes, "Child", child_of(world)),
        (processes, "find_program", lambda program, *_: Path(program)),
        (launched_processes.Launch, "processes", lambda launch: world.of_launch(launch)),  # noqa: PLW0108 - a method would not be given the launch
        (http_probe, "_ask", world.ask),
        (readiness, "speaks_tls", _no_tls),
        (launching, "ensure_free", _free(world)),
        (launching, "memory_in_use", _no_devices),
        (time, "monotonic", world.clock.monotonic),
        (time, "time", world.clock.wall),
        (launching.os, "urandom", world.random.randbytes),
    ]
    with ExitStack() as patches:
        patches.callback(structlog.configure, **structlog.get_config())  # other tests look at what is logged
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        patches.enter_context(silent)
        for place, name, stand_in in [*replaced, *planted]:
            patches.enter_context(mock.patch.object(place, name, stand_in))
        yield


def history(
    seed: int, root: Path, planted: Sequence[tuple[object, str, object]] = (), calm: Calm | None = None
) -> Told:
    """Lives through one history in a directory below `root`, which is removed afterwards.

    `calm`: without any fault but this. `planted`: what stands in place of the daemon's own code, to see its promise broken.
    """
    directory = root / f"seed-{seed}"
    directory.mkdir()
    lived = _History(seed, directory, calm)
    try:
        with _in(lived.world, planted):
            try:
                return lived.run()
            finally:
                asyncio.set_event_loop(None)
                gc.collect()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
