"""Where a model may be believed."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serviceoptd.simulation.step_times.validity import covered
from serviceoptd.simulation.virtual_clock.interface import StepComposition
from synthetic_batches import synthetic_run

COMPOSITION = synthetic_run((64, 1024), 400, seed=4).composition
VALIDITY = covered(COMPOSITION)


@given(row=st.integers(0, len(COMPOSITION) - 1))
def test_every_batch_of_the_training_data_is_inside(row: int) -> None:
    assert VALIDITY.outside(StepComposition(*map(int, COMPOSITION[row]))) == []


def test_what_goes_beyond_is_named_with_what_was_seen() -> None:
    (reason,) = VALIDITY.outside(StepComposition(0, 0, 0, 500, 500 * 1000))
    assert reason == "500 decoding sequences in a decode batch: trained on 1 to 64"
    (reason,) = VALIDITY.outside(StepComposition(0, 0, 0, 10, 10 * 9000))
    assert reason.startswith("9000 context tokens of a decoding sequence in a decode batch: trained on ")


def test_a_stage_that_was_never_seen_is_named() -> None:
    only_decoding = covered(COMPOSITION[COMPOSITION[:, 0] == 0])
    assert only_decoding.outside(StepComposition(1, 100, 5050, 8, 800)) == ["no mixed batch was seen in training"]


def test_a_combination_that_was_never_seen_is_outside_though_each_of_its_numbers_was_seen() -> None:
    few_beside_many = np.array([[1, 16, 136, 60, 6000], [1, 16, 136, 64, 6400]])
    many_beside_few = np.array([[1, 1000, 500500, 1, 100], [1, 1024, 524800, 2, 200]])
    validity = covered(np.vstack([few_beside_many, many_beside_few]).astype(float))
    assert validity.outside(StepComposition(1, 1000, 500500, 2, 200)) == []
    assert validity.outside(StepComposition(1, 1000, 500500, 60, 6000)) == [
        "nothing like 1000 prompt tokens beside 60 decoding sequences was seen in training"
    ]


def test_many_batches_at_once_are_judged_as_one_by_one() -> None:
    others = synthetic_run((128, 4096), 300, seed=9).composition
    for validity in (VALIDITY, covered(COMPOSITION[COMPOSITION[:, 0] == 0])):
        one_by_one = [bool(validity.outside(StepComposition(*map(int, batch)))) for batch in others]
        assert validity.beyond(others).tolist() == one_by_one
        assert 0 < sum(one_by_one) < len(others)
