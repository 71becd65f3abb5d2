"""Builds the real object graph, and runs the service on it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import structlog

from serviceopt_journal.artefacts import ArtefactStore
from serviceopt_journal.clock import SystemClock
from serviceopt_journal.codec import Recorded
from serviceopt_journal.errors import JournalFull, JournalUnreadable, JournalWriteFailed
from serviceopt_journal.failures import explained
from serviceopt_journal.places import Places
from serviceopt_journal.store import Journal
from serviceoptd.config import plugins
from serviceoptd.domain.evolve import fold
from serviceoptd.domain.state import State
from serviceoptd.evaluating.context import Context
from serviceoptd.evaluating.ledger import Ledger
from serviceoptd.io import cgroups
from serviceoptd.io.children_environment import own_prefix
from serviceoptd.io.notify import ServiceNotifier
from serviceoptd.service import stray_errors
from serviceoptd.service.daemon import Daemon
from serviceoptd.service.files import watch_files
from serviceoptd.service.loop import Loop

TOLD_EVERY = 10_000  # events between two words to systemd while the journal is replayed
EXTENSION = 120.0  # seconds asked of systemd each time; the database is checked before the first event is read
RETRY_AFTER = 1.0  # seconds between attempts to open the journal, or as long as the last one took
PASSING = (JournalFull, JournalUnreadable, JournalWriteFailed)
"""The disk's or the machine's trouble, which may be over later."""

LOG = structlog.get_logger("serviceoptd")


@contextlib.asynccontextmanager
async def opened(places: Places, *, standalone: bool) -> AsyncIterator[Daemon]:
    """A daemon on the journal in `places.state`, which is locked, verified and replayed; closed at the end.

    The service waits while the disk is full or fails, as it does when it runs. In the foreground (`standalone`) that
    is an error at once.

    Raises:
        JournalError: the journal is locked, damaged, or of a newer release; nothing was changed. In the foreground also:
            it cannot be read or written now.
    """
    for complaint in plugins.installed().complaints():
        LOG.warning("problem with a plugin", reason=complaint)
    stray_errors.log_seldom(asyncio.get_running_loop())
    notifier, told = ServiceNotifier(), ""
    while True:
        began = time.monotonic()
        try:
            journal, daemon = await _started(places, notifier, standalone=standalone)
        except PASSING as error:
            if standalone:
                raise
            pause = max(RETRY_AFTER, time.monotonic() - began)
            notifier.extend_timeout(EXTENSION + pause)
            notifier.status(f"waiting to start: {error}")
            if str(error) != told:
                LOG.warning("waiting to start", reason=str(error), hint=error.hint)
            told = str(error)
            await asyncio.sleep(pause)
        else:
            break
    try:
        yield daemon
    finally:
        journal.close()


async def _started(places: Places, notifier: ServiceNotifier, *, standalone: bool) -> tuple[Journal, Daemon]:
    """One attempt: the journal is open and holds that this process writes it, or nothing is left open."""
    state = State()

    def replayed(record: Recorded) -> None:
        nonlocal state
        state = fold(state, record)
        if record.seq % TOLD_EVERY == 0:  # a long history takes longer than systemd waits for a start
            notifier.extend_timeout(EXTENSION)
            notifier.status(f"reading the journal: {record.seq} events so far")

    notifier.extend_timeout(EXTENSION)
    notifier.status("reading the journal")
    with explained(places.state):
        clock = SystemClock()
    journal = Journal.open(places.state, clock=clock, on_event=replayed)
    try:
        context = Context(
            ledger=Ledger(journal, state, clock),
            clock=clock,
            state_directory=places.state,
            artefacts=ArtefactStore(places.state),
            engine_class=plugins.engine_class,
            benchmark_class=plugins.benchmark_class,
            cgroups=cgroups.prepare(),
            tool_prefix=own_prefix(),
        )
        daemon = Daemon(context, Loop(context), standalone=standalone)
        for fault in journal.repaired:
            LOG.warning("the journal was repaired", reason=fault)
        await daemon.start(replayed=state.seq, repaired=journal.repaired)
    except BaseException:
        journal.close()
        raise
    return journal, daemon


async def serve(places: Places, *, drop_in: Path | None) -> None:
    """The service: until a signal or a drain ends it."""
    async with opened(places, standalone=False) as daemon, daemon.served(places.socket, required=True):
        watching = asyncio.ensure_future(watch_files(daemon, drop_in))
        try:
            await daemon.work()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
