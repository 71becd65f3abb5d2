"""Which errors are a lack that passes: the step is done again when there is enough of it again."""

from __future__ import annotations

from collections.abc import Iterator

from serviceopt_journal.errors import EnvironmentLacks
from serviceopt_journal.failures import is_a_lack
from serviceoptd.evaluating.surroundings.room import Places


class SurroundingsLack(EnvironmentLacks):
    """An attempt failed while something was lacking around it. `places`: where there must be room before the next one."""

    def __init__(self, message: str, places: Places) -> None:
        super().__init__(message)
        self.places = places


def heals(error: BaseException) -> bool:
    """Whether the error, or the one of which it was made, is a lack that passes."""
    return any(isinstance(each, SurroundingsLack) or is_a_lack(each) for each in _with_causes(error))


def _with_causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__
