"""Bugs to be planted: for each promise of a history, a change of the daemon's code that breaks it.

A promise that no bug can break is not watched: test_histories.py plants each of these, and waits for the line that names
the promise. `simulate.py --plant NAME` shows one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from histories.virtual_time import VirtualClock
from serviceopt_journal.errors import JournalFull
from serviceopt_journal.events import Event, MeasurementFinished
from serviceoptd.benchmarks.vllm_benchmark import result
from serviceoptd.evaluating import ledger, stopping, watching_client
from serviceoptd.io import processes

Changes = list[tuple[object, str, object]]
"""Modules or classes, the name in each, and what stands there instead."""


@dataclass(frozen=True)
class Planted:
    """One bug, and the promise that it breaks."""

    name: str
    promise: str
    changes: Callable[[], Changes]


def _a_result_counts_twice() -> Changes:
    commit = ledger.Ledger.commit

    async def twice(self: ledger.Ledger, *events: Event, **how: Any) -> None:
        repeated = [each for event in events for each in [event] * (1 + isinstance(event, MeasurementFinished))]
        await commit(self, *repeated, **how)

    return [(ledger.Ledger, "commit", twice)]


def _a_client_is_not_the_announced_one() -> Changes:
    spawn = watching_client.spawn

    async def another(command: Any, **how: Any) -> Any:
        return await spawn(command, **{**how, "launch_id": "another"})

    return [(watching_client, "spawn", another)]


def _nothing_is_reaped() -> Changes:
    async def reap(*_: Any, **__: Any) -> tuple[int, ...]:
        return ()

    return [(stopping, "reap", reap)]


def _what_a_service_leaves_stays() -> Changes:
    async def end(*_: Any, **__: Any) -> tuple[int, ...]:
        return ()

    return [(processes.reaping, "end", end)]


def _a_full_disk_ends_the_daemon() -> Changes:
    async def wait_for_room(self: ledger.Ledger, reason: str) -> None:
        raise JournalFull(reason)

    return [(ledger.Ledger, "wait_for_room", wait_for_room)]


def _a_hanging_client_is_waited_for() -> Changes:
    watch = watching_client.watch

    async def for_ever(**how: Any) -> Any:
        return await watch(**{**how, "limit": math.inf})

    return [(watching_client, "watch", for_ever)]


def _the_state_knows_more_than_the_journal() -> Changes:
    fold = ledger.fold
    return [(ledger, "fold", lambda state, record: replace(fold(state, record), time=record.time + 1))]


PLANTED = (
    Planted("exit status not looked at", "true", lambda: [(result, "ended_well", lambda outcome: None)]),
    Planted("foreign result taken", "true", lambda: [(result, "_same_measurement", lambda *_: None)]),
    Planted("result counted twice", "measured once", _a_result_counts_twice),
    Planted("client not announced", "announced", _a_client_is_not_the_announced_one),
    Planted("recovery ends nothing", "one at a time", _nothing_is_reaped),
    Planted("leftovers stay", "nothing left", _what_a_service_leaves_stays),
    Planted("durations by the wall clock", "durations", lambda: [(VirtualClock, "monotonic", VirtualClock.wall)]),
    Planted("full disk ends the daemon", "ends only when told", _a_full_disk_ends_the_daemon),
    Planted("hanging client waited for", "goes on", _a_hanging_client_is_waited_for),
    Planted("state beside the journal", "replay", _the_state_knows_more_than_the_journal),
)
