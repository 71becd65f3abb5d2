"""Which errors are a lack that passes: the step is done again when there is enough of it again."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from serviceopt_journal.errors import EnvironmentLacks, JournalFull
from serviceopt_journal.failures import NO_ROOM
from serviceoptd.evaluating.surroundings.room import Places

PASSING = NO_ROOM | {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN}
"""Error numbers of a full disk or quota, of no descriptors, and of no memory or processes."""


class SurroundingsLack(EnvironmentLacks):
    """An attempt failed while something was lacking around it. `places`: where there must be room before the next one."""

    def __init__(self, message: str, places: Places) -> None:
        super().__init__(message)
        self.places = places


def heals(error: BaseException) -> bool:
    """Whether the error, or the one of which it was made, is a lack that passes."""
    return any(
        isinstance(each, JournalFull | MemoryError | SurroundingsLack)
        or (isinstance(each, OSError) and each.errno in PASSING)
        for each in _with_causes(error)
    )


def _with_causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__
