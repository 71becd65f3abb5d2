"""What becomes of a step that failed: its service is ended, its launch closed, and the run goes on or is held."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from serviceopt_journal.codec import EventNotStorable
from serviceopt_journal.errors import (
    EnvironmentLacks,
    InvalidConfiguration,
    JournalDamaged,
    JournalError,
    JournalFull,
    ServiceoptError,
)
from serviceopt_journal.events import RunPaused, SurroundingsFailed
from serviceoptd.domain.holding.interruptions import Phase
from serviceoptd.domain.state import RunState
from serviceoptd.evaluating.context import Context, Interrupted
from serviceoptd.evaluating.live_service import LiveService
from serviceoptd.evaluating.stopping import interrupt_service, recover
from serviceoptd.evaluating.surroundings.lacks import SurroundingsLack, heals
from serviceoptd.evaluating.surroundings.room import lacking, our_places
from serviceoptd.io.processes import stop

LOG = structlog.get_logger("serviceoptd")
PAUSES = (1.0, 5.0)
"""Seconds before a step is done again after its first, second (and so on) interruption in a row."""


class Closing:
    """The service that is alive, if any, and the one who ends it, whatever fails meanwhile."""

    def __init__(self, context: Context) -> None:
        self.live: LiveService | None = None
        self.stuck: set[int] = set()  # runs that could not be closed: until somebody resumes or cancels them
        self._context = context

    def announce(self, live: LiveService) -> None:
        """Takes charge of a service that is alive from now on: `close` ends it."""
        self.live = live

    async def step_failed(self, run: RunState, phase: Phase, error: Exception) -> None:
        """Closes the attempt, and tells whether it is due again, or the run is held. Never a result.

        Raises:
            JournalError: nothing can be committed any more.
        """
        ledger = self._context.ledger
        if _ends_the_process(error, stopping=ledger.given_up):
            raise error
        if ledger.given_up:
            await self.close(run, str(error))
        elif heals(error) or isinstance(error, OSError):
            await self._interrupted(run, phase, error)
        elif isinstance(error, EnvironmentLacks | InvalidConfiguration):
            if await self.close(run, str(error)):
                await self.hold(run, _told(error))
        else:  # a defect, perhaps of a plugin, holds its run and stops nothing else
            with_parts = f"engine {run.settings.engine}, client {run.settings.benchmark}"
            LOG.error("unexpected error", run=run.number, parts=with_parts, exc_info=error)
            if await self.close(run, _told(error)):
                reason = f"unexpected {type(error).__name__} with {with_parts}: {error}; the daemon's log has more"
                await self.hold(run, reason)

    async def close(self, run: RunState, reason: str) -> bool:
        """Ends what is alive and closes what was announced. While that fails for want of room or descriptors, it waits.

        False: something could not be undone, such as a file of the user's that could not be put back. The service is
        over all the same, the launch stays announced, the run is held, and recovery tries again when it is resumed.

        Raises:
            JournalError: nothing can be committed any more.
        """
        ledger = self._context.ledger
        while True:
            run = ledger.state.runs[run.number]
            try:
                if self.live is not None:
                    await interrupt_service(self._context, run, self.live, reason)
                elif run.evaluation is not None and run.evaluation.announced:
                    await recover(self._context, run)
            except Exception as error:
                if _ends_the_process(error, stopping=ledger.given_up):
                    raise
                if heals(error) and not ledger.given_up:
                    await ledger.wait_for_room(_told(error))
                    continue
                await self._leave_announced(run, error)
                return False
            self.live = None
            return True

    async def end_process(self) -> None:
        """Ends all processes of the live service, if any, and leaves its launch announced. What does not end is killed."""
        live = self.live
        if live is None or live.child is None:
            return
        live.ended_by_us = True
        limits = self._context.ledger.state.runs[live.run].settings.limits
        try:
            await stop(live.child, grace=limits.stop, stop_command=live.plan.stop)
        except Exception:
            LOG.exception("the service could not be stopped in order: its processes were killed", run=live.run)
            live.child.abandon()

    async def hold(self, run: RunState, reason: str) -> None:
        """Commits that the run waits for people."""
        await self._context.ledger.commit(RunPaused(run=run.number, reason=reason, held=True))

    async def _interrupted(self, run: RunState, phase: Phase, error: Exception) -> None:
        ledger, told = self._context.ledger, _told(error)
        # Where it happened matters only for what will happen again.
        LOG.warning("interrupted", run=run.number, phase=phase, reason=told, exc_info=None if heals(error) else error)
        evaluation = ledger.state.runs[run.number].evaluation
        if not await self.close(run, told):
            return
        number = evaluation.number if evaluation is not None else None
        await ledger.commit(SurroundingsFailed(run=run.number, phase=phase, reason=told, evaluation=number))
        in_a_row = sum(each.phase == phase for each in ledger.state.runs[run.number].interruptions)
        with suppress(Interrupted):
            await self._context.unless_interrupted(asyncio.sleep(PAUSES[min(max(in_a_row, 1), len(PAUSES)) - 1]))
        if heals(error):
            await self._enough_again(run, error)

    async def _enough_again(self, run: RunState, error: Exception) -> None:
        """Waits until what was lacking is there again, and says so meanwhile; no longer than the run is to go on."""
        ledger = self._context.ledger
        ours = our_places(self._context.state_directory)
        places = error.places if isinstance(error, SurroundingsLack) else ours
        while not ledger.given_up:
            now = ledger.state.runs[run.number]
            if now.cancel_requested or now.paused or not (lack := await asyncio.to_thread(lacking, places)):
                return
            await ledger.wait_for_room(lack)

    async def _leave_announced(self, run: RunState, error: Exception) -> None:
        LOG.warning("a launch could not be closed", run=run.number, exc_info=error)
        if self.live is not None and self.live.child is not None:
            self.live.child.abandon()
        self.stuck.add(run.number)
        self.live = None
        await self.hold(run, _told(error))


def _ends_the_process(error: Exception, *, stopping: bool) -> bool:
    """Whether the error says that nothing can be committed any more: replay decides what is due.

    Full, the disk is so only when nobody waits for room any more. What cannot be stored, and a kept file that is not what it
    was, are troubles of one run.
    """
    if isinstance(error, JournalFull):
        return stopping
    return isinstance(error, JournalError) and not isinstance(error, EventNotStorable | JournalDamaged)


def _told(error: Exception) -> str:
    """What happened, for people, with the hint."""
    if isinstance(error, ServiceoptError):
        return f"{error} ({error.hint})" if error.hint else str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
