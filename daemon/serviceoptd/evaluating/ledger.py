"""The only writer of events: commits them, folds them into the state, tells who listens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from serviceopt_journal.clock import Clock
from serviceopt_journal.codec import Recorded
from serviceopt_journal.errors import JournalFull
from serviceopt_journal.events import Event, WritingHeld
from serviceoptd.domain.evolve import fold
from serviceoptd.domain.state import State

RETRY_AFTER = 1.0  # seconds between attempts to write to a full disk

Listener = Callable[[Recorded, State], None]


class AppendOnly(Protocol):
    """The part of the journal that the ledger needs."""

    def append(self, *events: Event) -> tuple[Recorded, ...]: ...

    def reopen(self) -> None: ...


class Ledger:
    """The state, and the one way to change it.

    `commit` returns when the events are durable. On a full disk it waits until there is room again and says so in
    `held`; any other failed commit is the journal's JournalWriteFailed, which ends the process.
    """

    def __init__(self, journal: AppendOnly, state: State, clock: Clock) -> None:
        self.state = state
        self.held: str = ""
        self.held_since: float | None = None  # monotonic seconds
        self._given_up = False
        self._journal = journal
        self._clock = clock
        self._order = asyncio.Lock()
        self._listeners: list[Listener] = []
        self._changed = asyncio.Event()

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Calls `listener` after every commit, in order; the returned function ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def commit(self, *events: Event, wait: bool = True) -> None:
        """Makes the events durable, in this order and in one transaction, then visible.

        Args:
            events: what happened.
            wait: False makes a full disk an error.

        Raises:
            JournalFull: the disk is full, and nobody is to wait for room; nothing was written.
        """
        async with self._order:
            self._publish(await self._append(events, wait))

    async def changed(self) -> None:
        """Returns after the next commit, or at once when there was one since the last call."""
        await self._changed.wait()
        self._changed.clear()

    async def wait_for_room(self, reason: str) -> None:
        """Says that the disk is full, and waits before the next try. The next commit tells how long it took."""
        if self.held_since is None:
            self.held_since = self._clock.monotonic()
        self.held = reason
        await asyncio.sleep(RETRY_AFTER)

    def give_up(self) -> None:
        """Makes a full disk an error from now on: the process is to end, and replay decides what is due."""
        self._given_up = True

    @property
    def given_up(self) -> bool:
        """Whether the process is to end: nothing waits for room any more."""
        return self._given_up

    def wake(self) -> None:
        """Lets `changed` return although nothing was committed (the process is to stop)."""
        self._changed.set()

    async def _append(self, events: tuple[Event, ...], wait: bool) -> tuple[Recorded, ...]:
        while True:
            try:
                recorded = self._journal.append(*self._with_hold(), *events)
            except JournalFull as full:
                if self._given_up or not wait:
                    raise
                await self.wait_for_room(str(full))
                with suppress(JournalFull):
                    self._journal.reopen()
            else:
                self.held, self.held_since = "", None
                return recorded

    def _with_hold(self) -> tuple[Event, ...]:
        if self.held_since is None:
            return ()
        return (WritingHeld(reason=self.held, seconds=self._clock.monotonic() - self.held_since),)

    def _publish(self, recorded: tuple[Recorded, ...]) -> None:
        for record in recorded:
            self.state = fold(self.state, record)
            for listener in tuple(self._listeners):
                listener(record, self.state)
        self._changed.set()
