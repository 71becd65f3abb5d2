"""From batches to a model: what it learns, how it is judged, and that it is the same every time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serviceoptd.predicting.model_file import load, save
from serviceoptd.simulation.step_times.boosting import boost, boosted_factor, tabulate
from serviceoptd.simulation.step_times.latency_model import LatencyModel, TrainedModel
from serviceoptd.simulation.step_times.linear_terms import TERMS, fit_terms, terms
from serviceoptd.simulation.step_times.profile_data import Profile, ProfileRejected
from serviceoptd.simulation.step_times.training import BOTH, PHYSICS, train
from serviceoptd.simulation.virtual_clock.interface import StepComposition
from synthetic_batches import synthetic_profile, synthetic_run, synthetic_seconds


@pytest.fixture(scope="module")
def profile() -> Profile:
    return synthetic_profile(600)


@pytest.fixture(scope="module")
def trained(profile: Profile) -> TrainedModel:
    return train(profile, seed=0)


def test_the_physical_terms_are_found_again_when_nothing_else_takes_time() -> None:
    composition = synthetic_run((64, 1024), 500, seed=1).composition
    true = np.array([8e-3, 1e-3, 1e-4, 4e-5, 3e-10, 2e-5, 8e-8])
    found = fit_terms(terms(composition), terms(composition) @ true)
    assert found == pytest.approx(true, rel=1e-6)


def test_no_physical_term_gives_time_back() -> None:
    composition = synthetic_run((64, 1024), 500, seed=1).composition
    falling = 0.05 - 1e-5 * composition[:, 3]
    found = fit_terms(terms(composition), falling)
    assert len(found) == len(TERMS)
    assert found.min() >= 0


def test_the_physical_terms_do_not_prefer_short_times_where_times_scatter() -> None:
    run = synthetic_run((64, 1024), 4000, seed=1, noise=0.5)
    predicted = terms(run.composition) @ fit_terms(terms(run.composition), run.seconds)
    assert predicted.sum() == pytest.approx(run.seconds.sum(), rel=0.03)


@pytest.mark.parametrize("monotone", [True, False])
def test_the_tables_are_the_trees(profile: Profile, monotone: bool) -> None:
    composition, seconds = profile.composition, profile.seconds
    booster = boost(composition, seconds, np.full(len(seconds), seconds.mean()), monotone=monotone, seed=3)
    model = LatencyModel((seconds.mean(), 0, 0, 0, 0, 0, 0), tabulate(booster), 1e-9)
    draws = np.random.default_rng(5)
    anywhere = composition[draws.integers(0, len(composition), (2000, 5)), np.arange(5)]
    assert model.predict(anywhere) == pytest.approx(seconds.mean() * boosted_factor(booster, anywhere), rel=1e-4)


def test_with_monotone_trees_more_of_anything_never_takes_less_time(profile: Profile) -> None:
    composition, seconds = profile.composition, profile.seconds
    tables = tabulate(boost(composition, seconds, np.full(len(seconds), seconds.mean()), monotone=True, seed=3))
    for table in tables:
        values = np.array(table.values)
        assert np.diff(values, axis=0).min(initial=0) > -1e-6
        assert np.diff(values, axis=1).min(initial=0) > -1e-6


def test_one_batch_is_predicted_as_many_are(profile: Profile, trained: TrainedModel) -> None:
    model = trained.model
    assert model.tables
    one_by_one = [model.step_seconds(StepComposition(*map(int, batch))) for batch in profile.composition[:300]]
    assert one_by_one == pytest.approx(model.predict(profile.composition[:300]), rel=1e-12)


def test_configurations_that_were_held_out_are_predicted_within_a_few_percent_of_the_truth() -> None:
    profile = synthetic_profile(2000)
    *known, asked = profile.runs
    model = train(Profile((*known, synthetic_run((256, 8192), 200, seed=9))), seed=0).model
    errors = np.abs(model.predict(asked.composition) / synthetic_seconds(asked.composition) - 1)
    assert np.median(errors) < 0.04


def test_far_from_the_training_data_time_goes_on_growing_as_the_physical_terms_do(trained: TrainedModel) -> None:
    at, twice = (trained.model.step_seconds(StepComposition(0, 0, 0, 2000, n * 2000 * 3000)) for n in (10, 20))
    assert twice > 1.5 * at


def test_the_card_holds_out_whole_configurations(trained: TrainedModel) -> None:
    card = trained.card
    assert (card.split, card.folds, card.batches) == ("configuration", 5, 3600)
    assert sum(line.batches for line in card.by_stage.values()) == 3600
    assert sum(line.batches for line in card.by_size.values()) == 3600
    assert card.chosen == BOTH
    assert card.candidates[BOTH] == min(card.candidates.values())
    assert card.table_deviation < 1e-4


def test_the_physical_terms_alone_are_kept_where_the_trees_find_nothing() -> None:
    runs = synthetic_profile(400, configurations=((16, 512), (32, 512), (8, 256))).runs
    linear = np.array([8e-3, 1e-3, 1e-4, 4e-5, 3e-10, 2e-5, 8e-8])
    trained = train(Profile(tuple(replace(run, seconds=terms(run.composition) @ linear) for run in runs)), seed=0)
    assert trained.card.chosen == PHYSICS
    assert trained.model.tables == ()


def test_runs_of_one_configuration_are_held_out_whole_and_one_run_in_fifths() -> None:
    run = synthetic_run((64, 1024), 300, seed=2)
    other = replace(synthetic_run((64, 1024), 300, seed=3), name="another.csv")
    assert train(Profile((run, other)), seed=0).card.split == "run"
    card = train(Profile((run,)), seed=0).card
    assert (card.split, card.folds) == ("time", 5)


def test_the_same_data_and_seed_give_the_same_bytes_and_another_seed_others(tmp_path: Path, profile: Profile) -> None:
    first, again, other = (
        save(train(profile, seed=seed), tmp_path / name).read_bytes() for name, seed in (("1", 7), ("2", 7), ("3", 8))
    )
    assert first == again
    assert first != other


def test_a_saved_model_is_read_back_as_it_was(tmp_path: Path, trained: TrainedModel) -> None:
    assert load(save(trained, tmp_path)) == trained


def test_too_few_batches_are_refused() -> None:
    with pytest.raises(ProfileRejected, match="has 49 batches, too few"):
        train(Profile((synthetic_run((64, 1024), 49, seed=2),)), seed=0)
