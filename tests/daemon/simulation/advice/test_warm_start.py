"""The first configurations by a simulator, on an invented machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serviceopt_journal.events import Configuration
from serviceopt_journal.metrics import Metrics
from serviceoptd.domain.settings import Field, Objective, Slo
from serviceoptd.domain.space.space import Space
from serviceoptd.simulation.advice.advice import Compared
from serviceoptd.simulation.advice.simulator import Simulated
from serviceoptd.simulation.advice.warm_start import APART, CANDIDATES, First, candidates, chosen

SPACE = Space.of(
    [
        Field(name="MAX_NUM_SEQS", dtype="int", min=1, max=500, value=10),
        Field(name="CONCURRENCY", dtype="int", min=1, max=500, value=10, load=True),
    ]
)
OBJECTIVE = Objective(slos=(Slo(metric="tpot", limit=0.2),))
CURRENT: Configuration = {"MAX_NUM_SEQS": 10, "CONCURRENCY": 10}


def truth(configuration: Configuration) -> Metrics:
    """Faster with more at a time; more than 300 of them are too slow each."""
    running = min(float(configuration["MAX_NUM_SEQS"]), float(configuration["CONCURRENCY"]))
    tpot = 0.05 + running / 2000.0
    speed = running / tpot
    return Metrics(
        generate_speed=speed, throughput=speed / 100, success_rate=1.0, completed=9, failed=0, duration=1.0,
        ttft={}, tpot={"mean": tpot},
    )  # fmt: skip


def right(configuration: Configuration, slos: Sequence[Slo]) -> Simulated:
    return Simulated(truth(configuration))


def wrong(configuration: Configuration, slos: Sequence[Slo]) -> Simulated:
    return Simulated(truth({name: 501 - int(value) for name, value in configuration.items()}))


def first(simulator: Any, *measured: Configuration, seed: int = 1) -> First | None:
    compared = [Compared(each, truth(each), simulator(each, ())) for each in measured]
    found: First | None = chosen(SPACE, OBJECTIVE, compared, simulator, seed=seed, taken=measured)
    return found


@given(seed=st.integers(0, 2**63 - 1))
def test_candidates_are_spread_evenly_and_the_same_for_the_same_run(seed: int) -> None:
    positions = np.array([SPACE.encode(each) for each in candidates(SPACE, seed)])
    assert len(positions) == CANDIDATES
    quarters = np.histogram2d(*positions.T, bins=2, range=[[0, 1], [0, 1]])[0]
    assert quarters.min() > CANDIDATES / 5
    assert (positions == np.array([SPACE.encode(each) for each in candidates(SPACE, seed)])).all()


def test_a_right_simulator_finds_nearly_the_best_at_once() -> None:
    found = first(right, CURRENT)
    assert found is not None
    metrics = truth(SPACE.decode(found.position))
    assert metrics.tpot["mean"] <= 0.2
    assert metrics.generate_speed > 0.85 * 300 / 0.2
    assert found.expected is not None
    assert found.probability_feasible > 0.5


def test_what_was_proposed_is_not_chosen_again_nor_what_is_beside_it() -> None:
    known = [CURRENT]
    for _ in range(4):
        found = first(right, *known)
        assert found is not None
        apart = [np.linalg.norm(np.array(found.position) - SPACE.encode(each)) for each in known]
        assert min(apart) >= APART - 0.005  # a position is that of its whole numbers
        known.append(SPACE.decode(found.position))


def test_without_a_result_and_after_wrong_predictions_nothing_is_chosen() -> None:
    assert first(right) is None
    measured = [SPACE.decode((x, y)) for x, y in ((0.1, 0.1), (0.9, 0.8), (0.5, 0.4), (0.2, 0.9), (0.8, 0.3))]
    assert first(right, *measured) is not None
    assert first(wrong, *measured) is None


def test_outside_of_the_training_data_nothing_is_chosen_far_from_what_was_measured() -> None:
    def lost(configuration: Configuration, slos: Sequence[Slo]) -> Simulated:
        return Simulated(truth(configuration), beyond=0.5, remark="outside")

    found = first(lost, CURRENT)
    assert found is not None
    assert np.linalg.norm(np.array(found.position) - SPACE.encode(CURRENT)) < 0.26
