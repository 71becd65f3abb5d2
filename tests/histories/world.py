"""The machine around the daemon: its processes, what they answer over HTTP, and who has been told what."""

from __future__ import annotations

import asyncio
import errno
import heapq
import itertools
import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from histories.virtual_time import Stuck, VirtualClock, VirtualLoop
from serviceopt_journal.errors import EnvironmentLacks
from serviceoptd.io.child import Surroundings
from serviceoptd.io.http_probe import Answer
from serviceoptd.io.launched_processes import LAUNCH_ID, Launch
from serviceoptd.toolkit.interface import HttpProbe

Kind = Literal["service", "client", "helper", "bystander"]
SHORTEST = 1e-7  # seconds that every turn of the loop takes: of shorter ones none would pass, for rounding
ENDING = 0.01  # seconds from a signal to the end of a process that obeys


class Killed(KeyboardInterrupt):
    """The daemon is gone: this is raised wherever it happens to be, and nothing that it does later has an effect."""


@dataclass
class Process:
    """A process of the world. `status` as `Child.wait` gives it; None while it runs."""

    pid: int
    kind: Kind
    launch_id: str
    argv: tuple[str, ...]
    output: Path
    started: float
    group: int
    status: int | None = None
    obeys_sigterm: bool = True
    waited_for: list[Callable[[int], None]] = field(default_factory=list)

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.status is None

    def says(self, line: str) -> None:
        """Adds a line to its output."""
        with self.output.open("a", encoding="utf-8") as log:
            log.write(line + "\n")


class World:
    """Everything that is not the daemon. Moves with the clock; lives on when the daemon dies."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.clock = VirtualClock()
        self.loop: VirtualLoop | None = None
        self.processes: dict[int, Process] = {}
        self.dead = False  # the daemon, between its SIGKILL and its next start
        self.no_descriptors_until = 0.0
        self.port_taken_until = 0.0
        self.started: Callable[[Process], None] = lambda process: None
        self.answers: Callable[[HttpProbe], Answer] = lambda request: Answer(None)
        self.last_moment = float("inf")
        self.signalled: Counter[str] = Counter()
        self._pids = itertools.count(5000)
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def at(self, moment: float, action: Callable[[], None]) -> None:
        """Does this at that moment of the monotonic clock."""
        heapq.heappush(self._due, (moment, next(self._order), action))

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Does this in so many seconds."""
        self.at(self.clock.now + seconds, action)

    def pass_time(self, timeout: float | None) -> None:
        """Moves to the next due moment, `timeout` seconds on at most; the selector of the loop calls this."""
        self.must_live()
        until = float("inf") if timeout is None else self.clock.now + timeout
        if self._due and self._due[0][0] <= until:
            self._next()
        elif timeout is None:
            raise Stuck("nothing is due")
        else:
            self.clock.now = max(until, self.clock.now + SHORTEST)
        if self.clock.now > self.last_moment:
            raise Stuck(f"not over after {self.clock.now:.0f} s")
        self.must_live()

    def pass_alone(self, seconds: float) -> None:
        """So much time passes while there is no daemon."""
        until = self.clock.now + seconds
        while self._due and self._due[0][0] <= until:
            self._next()
        self.clock.now = until

    def _next(self) -> None:
        moment, _, action = heapq.heappop(self._due)
        self.clock.now = max(self.clock.now, moment)
        action()

    def must_live(self) -> None:
        """Raises Killed where the daemon is dead."""
        if self.dead:
            raise Killed

    # What the daemon's own modules call

    def popen(
        self,
        program: Path,
        argv: Sequence[str],
        place: Path,
        environment: Mapping[str, str],
        output: Path,
        cgroup: Path | None,
    ) -> Process:
        """Stands for `io.processes._popen`."""
        self.must_live()
        if self.clock.now < self.no_descriptors_until:
            error = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            raise EnvironmentLacks(f"{program} could not be started: {error}") from error
        words = tuple(argv)
        kind: Kind = "client" if "bench" in words else "service" if "serve" in words else "helper"
        return self.begin(kind, environment[LAUNCH_ID], words, output)

    def begin(
        self, kind: Kind, launch_id: str, argv: tuple[str, ...] = (), output: Path = Path("/dev/null")
    ) -> Process:
        """A process begins, and the program in it."""
        pid = next(self._pids)
        process = Process(pid, kind, launch_id, argv, output, self.clock.wall(), pid)
        self.processes[pid] = process
        self.started(process)
        return process

    def signal(self, process: Process, number: int) -> None:
        """What the kernel does with a signal of the daemon's."""
        if self.dead or not process.alive:
            return
        self.signalled[process.kind] += 1
        if number == signal.SIGKILL:
            self.end(process, -signal.SIGKILL)
        elif process.obeys_sigterm:
            self.after(ENDING, lambda: self.end(process, -number if process.kind == "client" else 0))

    def end(self, process: Process, status: int) -> None:
        """A process ends, by itself or by anybody."""
        if process.alive:
            process.status = status
            for waiting in process.waited_for:
                waiting(status)

    def of_launch(self, launch: Launch) -> list[Any]:
        """Stands for `Launch.processes`."""
        self.must_live()
        return [Handle(self, each) for each in self.living() if each.launch_id == launch.launch_id]

    def living(self, *kinds: Kind) -> list[Process]:
        """The processes that run."""
        return [each for each in self.processes.values() if each.alive and (not kinds or each.kind in kinds)]

    async def ask(self, request: HttpProbe) -> Answer:
        """Stands for `io.http_probe._ask`."""
        self.must_live()
        await asyncio.sleep(0.001)
        return self.answers(request)

    def send_daemon(self, number: int) -> None:
        """A signal to the daemon, if it lives and listens to it."""
        if self.loop is not None and not self.dead and (handler := self.loop.signal_handlers.get(number)):
            self.loop.call_soon(handler)


class Handle:
    """Stands for `ProcessHandle`."""

    def __init__(self, world: World, process: Process) -> None:
        self._world, self._process = world, process
        self.pid, self.group, self.started = process.pid, process.group, 1
        self.descriptor = None

    @property
    def ended(self) -> bool:
        return not self._process.alive

    def signal(self, number: int) -> bool:
        self._world.signal(self._process, number)
        return self._process.alive

    def close(self) -> None:
        """Nothing to give back."""


def child_of(world: World) -> type:
    """A class that stands for `io.child.Child` in this world."""

    class SimulatedChild:
        def __init__(self, process: Process, launch: Launch, surroundings: Surroundings) -> None:
            self.pid, self.started = process.pid, process.started
            self.launch, self.surroundings = launch, surroundings
            self._process = process
            self._loop = asyncio.get_running_loop()
            self._ended: asyncio.Future[int] = self._loop.create_future()
            process.waited_for.append(self._tell)
            if process.status is not None:
                self._tell(process.status)

        def _tell(self, status: int) -> None:
            if not self._loop.is_closed():
                self._loop.call_soon(lambda: self._ended.done() or self._ended.set_result(status))

        async def wait(self) -> int:
            return await asyncio.shield(self._ended)

        @property
        def exit_status(self) -> int | None:
            return self._process.status

        @property
        def alive(self) -> bool:
            return self._process.alive

        def signal_group(self, number: int) -> None:
            world.signal(self._process, number)

        def release(self) -> None:
            """No pid to give up."""

        def abandon(self) -> None:
            world.signal(self._process, signal.SIGKILL)

    return SimulatedChild
