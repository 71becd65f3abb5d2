"""What goes wrong around the daemon, and when: drawn from the world's own random numbers."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from histories.programs import Programs
from histories.world import World
from serviceopt_journal.errors import JournalFull

OF_THE_WORLD = (
    "daemon killed", "daemon killed before a commit", "daemon killed after a commit", "daemon stopped",
    "daemon reloaded", "daemon drained", "wall clock set forward", "wall clock set back", "disk full",
    "descriptors gone", "port taken", "run paused", "run cancelled", "machine restarted", "another run submitted",
)  # fmt: skip
LONGEST_LACK = 8.0  # seconds


@dataclass
class Faults:
    """The faults of one history. `phase` tells where the daemon is; `ask` does what a user asks of it."""

    world: World
    programs: Programs
    phase: Callable[[], str]
    ask: Callable[[str], None]
    reached: Counter[tuple[str, str]] = field(default_factory=Counter)
    disk_full_until: float = 0.0
    kill_after: int | None = None
    _before_commit: bool = False
    _after_commit: bool = False

    def plan(self, *, until: float) -> None:
        """Draws them all; none comes later than `until` (seconds of the world)."""
        random = self.world.random
        for _ in range(random.choice((0, 1, 2, 4, 8))):
            kind = random.choice(OF_THE_WORLD)
            self.world.at(random.uniform(self.world.clock.now, until), lambda kind=kind: self._happen(kind))
        self.programs.faults = random.choice((0, 0, 10, 25, 50))
        self.programs.reached = self.note
        self.world.at(until, self.programs.spoil)

    def note(self, kind: str) -> None:
        """Counts a fault in the phase in which it came."""
        self.reached[(kind, self.phase())] += 1

    def before_append(self) -> None:
        """What a commit meets."""
        if self.world.clock.now < self.disk_full_until:
            raise JournalFull("there is no room on the disk: nothing was written")
        if self._before_commit:
            self._before_commit = False
            self._kill()

    def after_append(self, seq: int) -> None:
        """What comes after the commit that ends with this event."""
        if self.kill_after is not None and seq >= self.kill_after:
            self.kill_after = None
            self._kill()
        if self._after_commit:
            self._after_commit = False
            self._kill()

    def _happen(self, kind: str) -> None:
        self.note(kind)
        world, now = self.world, self.world.clock.now
        lack = now + world.random.uniform(0.5, LONGEST_LACK)
        match kind:
            case "daemon killed":
                world.dead = True
            case "daemon killed before a commit":
                self._before_commit = True
            case "daemon killed after a commit":
                self._after_commit = True
            case "daemon stopped":
                world.send_daemon(signal.SIGTERM)
            case "daemon reloaded":
                world.send_daemon(signal.SIGHUP)
            case "daemon drained":
                world.send_daemon(signal.SIGUSR1)
            case "wall clock set forward":
                world.clock.set_wall(world.random.choice((2.0, 3600.0, 3.2e7)))
            case "wall clock set back":
                world.clock.set_wall(-world.random.choice((2.0, 3600.0, 3.2e7)))
            case "disk full":
                self.disk_full_until = lack
            case "descriptors gone":
                world.no_descriptors_until = lack
            case "port taken":
                world.port_taken_until = lack
            case "machine restarted":
                self._restart_machine()
            case asked:
                self.ask(asked)

    def _kill(self) -> None:
        self.world.dead = True
        self.world.must_live()

    def _restart_machine(self) -> None:
        self.world.dead = True
        for process in self.world.living("service", "client", "helper"):
            self.world.end(process, -signal.SIGKILL)
        self.world.clock.boots += 1
