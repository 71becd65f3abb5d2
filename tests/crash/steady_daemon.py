"""The daemon, to which every launch and measurement takes as long as its configuration says, by a clock of no machine.

The search learns from what launches and measurements cost, and on a real machine no two take the same time. Given the same
results and durations it makes the same proposals; so runs can be compared only where the durations are held equal. Nothing
else is replaced: the processes, their deaths and the waiting for them are real.

    steady_daemon.py ARGUMENTS OF serviceoptd
"""

from __future__ import annotations

import zlib

import msgspec

from serviceopt_journal.codec import Recorded
from serviceopt_journal.events import Event, MeasurementFinished
from serviceopt_journal.store import Journal
from serviceoptd.__main__ import main
from serviceoptd.domain import evolve
from serviceoptd.domain.state import Evaluation, Moment

SHORTEST, SPREAD, HOURS = 20.0, 40.0, 20_000.0  # seconds


def drawn(*what: object) -> float:
    """A duration that belongs to this, in seconds: the same in every process."""
    return SHORTEST + SPREAD * zlib.crc32(msgspec.json.encode(what)) / 2**32


def steady() -> None:
    """From now on durations that a search learns from are drawn, not measured."""
    append = Journal.append

    def appended(journal: Journal, *events: Event) -> tuple[Recorded, ...]:
        return append(journal, *(_timed(event) for event in events))

    def waited(evaluation: Evaluation, now: Moment) -> float:
        if evaluation.launch_seconds is not None:
            return HOURS  # it has been ready before: what this one takes must teach nothing
        return drawn("launch", sorted(evaluation.configuration.items()))

    Journal.append = appended  # type: ignore[method-assign]
    evolve.waited = waited  # type: ignore[attr-defined]


def _timed(event: Event) -> Event:
    if not isinstance(event, MeasurementFinished):
        return event
    return msgspec.structs.replace(event, seconds=event.metrics.duration + drawn("measurement", event.metrics))


if __name__ == "__main__":
    steady()
    main()
