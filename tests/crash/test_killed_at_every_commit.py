"""A daemon that is killed at any commit, on virtual time: the search goes on to the very same proposals, `swarm`'s too.

Its models learn from what launches and measurements cost; here each takes as long as its arguments say, so that given the
same results and durations two histories can be compared to the last digit (docs/guarantees.md).
"""

from __future__ import annotations

from typing import Any

import pytest

from crash.simulate import lived
from histories.history import Calm, Told
from serviceopt_journal import events as e

pytestmark = pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")  # of a daemon that was killed
SEED, ITERATIONS = 2, 4
SHARES = 3


def commits(told: Told) -> list[int]:
    """The last event of each commit, up to the end of the run."""
    finished = next(record.seq for record in told.records if isinstance(record.event, e.RunFinished))
    return sorted({record.commit: record.seq for record in told.records if record.seq < finished}.values())


def proposals(told: Told) -> list[tuple[Any, ...]]:
    """What the search proposed, and what it expected."""
    return [
        (event.particle, event.origin, event.position, event.configuration, event.predicted, event.expected_gain)
        for event in (record.event for record in told.records)
        if isinstance(event, e.ParticleProposed)
    ]


def results(told: Told) -> list[tuple[Any, ...]]:
    """What was measured, and what came of the run."""
    events = [record.event for record in told.records]
    measured = [(each.particle, each.metrics) for each in events if isinstance(each, e.MeasurementFinished)]
    ended = [(each.outcome, each.recommended, each.feasible) for each in events if isinstance(each, e.RunFinished)]
    return [*measured, *ended]


@pytest.mark.parametrize("strategy", ["swarm", "pso"])
@pytest.mark.parametrize("share", range(SHARES))
def test_a_daemon_killed_at_any_commit_proposes_and_finds_the_same(strategy: str, share: int) -> None:
    whole = lived(SEED, calm=Calm(strategy, ITERATIONS))
    assert len(proposals(whole)) > 3
    boundaries = commits(whole)
    assert len(boundaries) > 30
    for seq in boundaries[share::SHARES]:
        killed = lived(SEED, calm=Calm(strategy, ITERATIONS, killed_after=seq))
        assert killed.lives == 2
        assert killed.broken == ()
        assert proposals(killed) == proposals(whole), f"killed after event {seq}"
        assert results(killed) == results(whole), f"killed after event {seq}"
