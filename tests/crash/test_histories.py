"""Histories of the whole daemon on virtual time, with faults at random: every promise holds in each, and each can break.

A share of what `make chaos` runs; `python tests/crash/simulate.py --seed N` shows one with its events.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from crash.planted import PLANTED, Planted
from crash.simulate import lived
from histories.faults import OF_THE_WORLD
from histories.history import Told
from histories.programs import CLIENT_FAULTS, SERVICE_FAULTS

pytestmark = pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")  # of a daemon that was killed
SHARES, EACH = 5, 40
PLANTED_SEEDS = 60
"""Histories within which a planted bug has to be told."""


@cache
def history_of(seed: int) -> Told:
    """Each is lived through once, whichever test asks first."""
    return lived(seed)


@pytest.mark.parametrize("share", range(SHARES))
def test_every_promise_holds_in_every_history(share: int) -> None:
    for seed in range(share * EACH, (share + 1) * EACH):
        told = history_of(seed)
        assert told.broken == (), f"python tests/crash/simulate.py --seed {seed}"
        assert set(told.outcomes) <= {"completed", "failed", "cancelled"}


def test_the_histories_reach_every_kind_of_fault(record_property: Callable[[str, object], None]) -> None:
    """Counting histories alone would say nothing of what they met."""
    counts = sum((history_of(seed).reached for seed in range(SHARES * EACH)), Counter[tuple[str, str]]())
    record_property("counted", f"{SHARES * EACH} histories, {counts.total()} faults")
    for phase in sorted({phase for _, phase in counts}):
        kinds = ", ".join(f"{kind} {times}" for (kind, when), times in sorted(counts.items()) if when == phase)
        record_property("counted", f"{phase}: {kinds}")
    reached = {kind for kind, _ in counts}
    kinds = {
        *OF_THE_WORLD,
        *(f"service {each}" for each in SERVICE_FAULTS),
        *(f"client {each}" for each in CLIENT_FAULTS),
    }
    assert not kinds - reached


def test_one_seed_makes_one_history() -> None:
    for seed in (3, 8):
        one, again = lived(seed), lived(seed)
        assert one.digest == again.digest
        assert one.events > 10
    assert lived(4).digest != lived(3).digest


@pytest.mark.parametrize("bug", PLANTED, ids=lambda bug: bug.name)
def test_a_planted_bug_is_told_by_the_promise_that_it_breaks(bug: Planted) -> None:
    told = (broken for seed in range(PLANTED_SEEDS) for broken in lived(seed, bug.name).broken)
    assert any(broken.startswith(f"{bug.promise}:") for broken in told)


def test_every_promise_of_the_documentation_has_a_bug_that_breaks_it() -> None:
    table = (Path(__file__).parents[2] / "docs/guarantees.md").read_text().split("| promise |")[1].split("\n\n")[0]
    assert {line.split("|")[1].strip() for line in table.splitlines()[2:]} == {bug.promise for bug in PLANTED}
