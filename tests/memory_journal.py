"""A journal in memory, for tests of what is above it. Records go through the real codec, so nothing unreadable passes."""

from __future__ import annotations

from collections.abc import Callable

from serviceopt_journal.clock import Clock, SystemClock
from serviceopt_journal.codec import Recorded, encode_commit
from serviceopt_journal.errors import JournalFull
from serviceopt_journal.events import Event


class MemoryJournal:
    """Appends like the real one. `before_append` may raise, as a full disk does; `after_append` may end the daemon."""

    def __init__(self, records: list[Recorded] | None = None, clock: Clock | None = None) -> None:
        self.records = list(records or [])
        self.before_append: Callable[[], None] = lambda: None
        self.after_append: Callable[[int], None] = lambda seq: None
        self.reopened = 0
        self.clock = clock or SystemClock()

    def append(self, *events: Event) -> tuple[Recorded, ...]:
        self.before_append()
        _, appended = encode_commit(
            events,
            first_seq=len(self.records) + 1,
            time=self.clock.wall(),
            monotonic=self.clock.monotonic(),
            boot_id=self.clock.boot_id(),
        )
        self.records.extend(appended)
        self.after_append(len(self.records))
        return appended

    def reopen(self) -> None:
        self.reopened += 1


def full_disk(times: int) -> Callable[[], None]:
    """Refuses that many appends."""
    left = times

    def refuse() -> None:
        nonlocal left
        if left > 0:
            left -= 1
            raise JournalFull("there is no room on the disk: nothing was written")

    return refuse
