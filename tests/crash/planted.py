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
from histories.world import Handle, World
from serviceopt_journal.errors import JournalFull
from serviceopt_journal.events import Event, MeasurementFinished, ServiceStopped
from serviceoptd.benchmarks.vllm_benchmark import result
from serviceoptd.domain import policy
from serviceoptd.evaluating import ledger, stopping, watching_client
from serviceoptd.io import processes
from serviceoptd.service import loop
from serviceoptd.toolkit.interface import UnusableResult

Changes = list[tuple[object, str, object]]
"""Modules or classes, the name in each, and what stands there instead."""


@dataclass(frozen=True)
class Planted:
    """One bug, and the promise that it breaks."""

    name: str
    promise: str
    changes: Callable[[], Changes]


def _commits_twice(kind: type[Event]) -> Changes:
    commit = ledger.Ledger.commit

    async def twice(self: ledger.Ledger, *events: Event, **how: Any) -> None:
        repeated = [each for event in events for each in [event] * (1 + isinstance(event, kind))]
        await commit(self, *repeated, **how)

    return [(ledger.Ledger, "commit", twice)]


def _no_result_is_believed() -> Changes:
    def ended_well(outcome: object) -> None:
        raise UnusableResult("the client ended well")

    return [(result, "ended_well", ended_well)]


def _the_budget_is_overdrawn() -> Changes:
    ended = policy._ended
    return [
        (
            policy,
            "_ended",
            lambda run, *rest, **how: run.admitted > run.settings.budget.evaluations and ended(run, *rest, **how),
        )
    ]


def _the_last_one_is_recommended() -> Changes:
    return [(loop, "recommended", lambda run: (run.particles[max(run.particles)], True, None))]


def _everything_belongs_to_a_launch() -> Changes:
    return [(World, "of_launch", lambda world, launch: [Handle(world, each) for each in world.living()])]


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
    Planted("result counted twice", "measured once", lambda: _commits_twice(MeasurementFinished)),
    Planted("two ends of a launch", "closed", lambda: _commits_twice(ServiceStopped)),
    Planted("no result believed", "blameless", _no_result_is_believed),
    Planted("budget overdrawn", "budget", _the_budget_is_overdrawn),
    Planted("last one recommended", "recommended", _the_last_one_is_recommended),
    Planted("everybody's processes ended", "bystander", _everything_belongs_to_a_launch),
    Planted("client not announced", "announced", _a_client_is_not_the_announced_one),
    Planted("recovery ends nothing", "one at a time", _nothing_is_reaped),
    Planted("leftovers stay", "nothing left", _what_a_service_leaves_stays),
    Planted("durations by the wall clock", "durations", lambda: [(VirtualClock, "monotonic", VirtualClock.wall)]),
    Planted("full disk ends the daemon", "ends only when told", _a_full_disk_ends_the_daemon),
    Planted("hanging client waited for", "goes on", _a_hanging_client_is_waited_for),
    Planted("state beside the journal", "replay", _the_state_knows_more_than_the_journal),
)
