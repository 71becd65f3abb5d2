"""The running daemon: the loop, the API, the watchdog and the watched files in one process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import structlog

from serviceopt_journal.clock import Clock
from serviceopt_journal.codec import Recorded
from serviceopt_journal.documents import runs
from serviceopt_journal.errors import EnvironmentLacks, InvalidConfiguration
from serviceopt_journal.events import DaemonStarted, DaemonStopped
from serviceopt_journal.reader import JournalReader
from serviceoptd import __version__
from serviceoptd.domain import documents
from serviceoptd.domain.state import Moment, State
from serviceoptd.evaluating.context import Context
from serviceoptd.evaluating.ledger import Ledger
from serviceoptd.io import unix_http
from serviceoptd.io.log import DEFAULT, LEVELS, current_level, set_level
from serviceoptd.io.notify import ServiceNotifier
from serviceoptd.service.api import make_app
from serviceoptd.service.loop import Loop

LOG = structlog.get_logger("serviceoptd")
HOUSEKEEPING = 1.0  # seconds
EXTENSION = 30.0  # seconds asked of systemd while the services are being stopped
IDLE_ON_FULL_DISK = 600.0  # seconds that a service may wait for room on the disk before it is stopped


class Daemon:
    """Everything that lives as long as the process."""

    def __init__(self, context: Context, loop: Loop, *, standalone: bool) -> None:
        self.context = context
        self.loop = loop
        self.ending = False
        self._standalone = standalone
        self._started = context.clock.wall()
        self._notifier = ServiceNotifier()
        self._own_level = current_level()
        self.ledger.listen(self._tell)

    @property
    def ledger(self) -> Ledger:
        """The ledger through which events are appended."""
        return self.context.ledger

    @property
    def clock(self) -> Clock:
        """The clock by which the daemon measures."""
        return self.context.clock

    @property
    def now(self) -> Moment:
        """The present, for durations."""
        return (self.clock.boot_id(), self.clock.monotonic())

    async def start(self, *, replayed: int, repaired: tuple[str, ...] = ()) -> None:
        """Commits that this process now writes the journal, and what opening it put right.

        Raises:
            JournalFull, JournalWriteFailed: it could not be written, and this journal takes no more.
        """
        await self.ledger.commit(
            DaemonStarted(
                version=__version__,
                pid=os.getpid(),
                host=platform.node(),
                python=platform.python_version(),
                standalone=self._standalone,
                replayed=replayed,
                repaired=repaired,
            ),
            wait=False,
        )

    @contextlib.asynccontextmanager
    async def served(self, socket: Path, *, required: bool) -> AsyncIterator[None]:
        """Serves the API while the block runs. Not `required`: without a socket the work goes on, and the log says so."""
        try:
            listener = unix_http.listen(socket)
        except EnvironmentLacks as error:
            if required:
                raise
            LOG.warning("not listening on the socket", reason=str(error))
            yield
            return
        server = unix_http.server(make_app(self))
        serving = asyncio.ensure_future(server.serve(sockets=[listener]))
        try:
            yield
        finally:
            self.ending = True
            server.should_exit = True
            await asyncio.wait({serving}, timeout=10.0)
            socket.unlink(missing_ok=True)

    async def work(self) -> None:
        """Recovers, then does what is due until it is told to stop. Signals: TERM, INT and HUP stop, USR1 drains."""
        running = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            running.add_signal_handler(number, self.loop.stop, f"{signal.Signals(number).name} received")
        running.add_signal_handler(signal.SIGUSR1, self.loop.drain)
        housekeeping = asyncio.ensure_future(self._keep_house())
        self._notifier.ready(progress(self.ledger.state))
        try:
            await self.loop.recover()
            await self.loop.run_forever()
        finally:
            housekeeping.cancel()
            self.ending = True
        self._notifier.stopping()
        await self.ledger.commit(DaemonStopped(reason=self.loop.stopping or "drained"))

    async def _keep_house(self) -> None:
        interval = self._notifier.watchdog_interval()
        pause = min(HOUSEKEEPING, interval / 2) if interval else HOUSEKEEPING
        while True:
            if interval:
                self._notifier.alive()
            if self.loop.stopping:  # engines take their time to end, and are not to be cut short
                self._notifier.extend_timeout(EXTENSION)
            if self.ledger.held:
                self._say(f"held: {self.ledger.held}")
                since = self.ledger.held_since
                if since is not None and self.clock.monotonic() - since > IDLE_ON_FULL_DISK:
                    await self.loop.stop_idle_service()
            await asyncio.sleep(pause)

    def status(self) -> runs.Status:
        """The status document, as GET /v1/status answers."""
        daemon = runs.Daemon(
            pid=os.getpid(),
            version=__version__,
            started=self._started,
            standalone=self._standalone,
            draining=self.loop.draining,
            held=self.ledger.held,
            state_directory=str(self.context.state_directory),
        )
        return documents.status_document(self.ledger.state, now=self.now, daemon=daemon)

    def records(self, **which: Any) -> Iterator[Recorded]:
        """Committed records, oldest first; `which` are the arguments of JournalReader.events."""
        return JournalReader.open(self.context.state_directory).events(**which)

    def set_log_level(self, level: str) -> None:
        """Changes the log level from now on.

        Raises:
            InvalidConfiguration: there is no such level.
        """
        if level not in LEVELS:
            raise InvalidConfiguration(f"there is not a log level {level!r}", hint="one of " + ", ".join(LEVELS))
        self._own_level = level
        set_level(level)

    def _level_of_the_work(self, state: State) -> str:
        """A run whose level is not the usual one has it while it is worked on (MODELEVALSTATE_LEVEL)."""
        run = next((run for run in state.queue() if run.status == "running" and not run.paused), None)
        return run.settings.log_level if run and run.settings.log_level != DEFAULT else self._own_level

    def _tell(self, record: Recorded, state: State) -> None:
        event = record.event
        if (level := self._level_of_the_work(state)) != current_level():
            set_level(level)
        fields = {name: getattr(event, name) for name in ("run", "particle", "evaluation", "measurement", "reason")
                  if getattr(event, name, None) not in (None, "")}  # fmt: skip
        LOG.info(str(event.__struct_config__.tag), seq=record.seq, **fields)
        if current_level() == "DEBUG":
            LOG.debug("event in full", seq=record.seq, content=msgspec.json.encode(event).decode())
        self._say(progress(state))

    def _say(self, text: str) -> None:
        self._notifier.status(text)


def progress(state: State) -> str:
    """One line for systemd: what is going on, and the best so far."""
    queue = state.queue()
    if not queue:
        return "idle"
    run = queue[0]
    if run.started is None:
        return f"run {run.number} {documents.status_word(run)}: {run.settings.budget.evaluations} configurations"
    best = run.best()
    metrics = run.known_of(best) if best else None
    speed = f", best {metrics.generate_speed:.0f} tok/s" if metrics else ""
    return (
        f"run {run.number} {documents.status_word(run)}: "
        f"{run.admitted} of {run.settings.budget.evaluations} configurations{speed}"
    )
