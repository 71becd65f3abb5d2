"""Trains the candidates, holds out configurations to judge them, and keeps the best. Pure but for the progress."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serviceoptd.latency_model.boosting import boost, boosted_factor, require_xgboost, tabulate
from serviceoptd.latency_model.latency_model import LatencyModel
from serviceoptd.latency_model.model_card import ModelCard, Recording, by_size, by_stage
from serviceoptd.latency_model.model_file import TrainedModel
from serviceoptd.latency_model.physics import TERMS, fit_physics, terms
from serviceoptd.latency_model.profile_data import Column, Profile, ProfileRejected
from serviceoptd.latency_model.reading import Progress
from serviceoptd.latency_model.validity import covered

FEWEST_BATCHES = 50
MOST_FOLDS = 5
VALIDATION_BATCHES = 200_000  # the errors are known well enough by then; the model itself learns from all
PHYSICS, TREES, BOTH = "physical terms", "monotone trees", "physical terms and trees"
CANDIDATES = (PHYSICS, TREES, BOTH)  # of equal ones the first, which is the simplest


def train(profile: Profile, *, seed: int, progress: Progress = lambda _what, _share: None) -> TrainedModel:
    """The model of this profile. Equal profiles and seeds give equal models, to the bit.

    Raises:
        ProfileRejected: there are too few batches.
        EnvironmentLacks: XGBoost is not installed.
    """
    version = require_xgboost().__version__
    composition, seconds = profile.composition, profile.seconds
    if len(seconds) < FEWEST_BATCHES:
        raise ProfileRejected(
            "the profiling data",
            f"has {len(seconds)} batches, too few to learn from; {FEWEST_BATCHES} are the least",
            hint="profile a longer benchmark, better with several concurrencies and lengths",
        )
    split, parts = validation_parts(profile)
    every = slice(None, None, -(-len(seconds) // VALIDATION_BATCHES))
    held_out = held_out_predictions(composition[every], seconds[every], parts[every], seed, progress)
    candidates = {name: _judged(composition[every], found, seconds[every]) for name, found in held_out.items()}
    chosen = min(CANDIDATES, key=candidates.__getitem__)
    progress(f"training {chosen} on {len(seconds)} batches", 0.8)
    model, deviation = _fit(chosen, composition, seconds, seed)
    card = ModelCard(
        recordings=tuple(
            Recording(run.name, run.configuration, run.framework, len(run.seconds), run.left_out)
            for run in profile.runs
        ),
        batches=len(seconds),
        seed=seed,
        split=split,
        folds=len(np.unique(parts)),
        candidates=candidates,
        chosen=chosen,
        by_stage=by_stage(composition[every], held_out[chosen], seconds[every]),
        by_size=by_size(composition[every], held_out[chosen], seconds[every]),
        table_deviation=deviation,
        xgboost=version,
    )
    progress("done", 1.0)
    return TrainedModel(model, covered(composition), card)


def validation_parts(profile: Profile) -> tuple[str, NDArray[np.int64]]:
    """How the batches are split, and the part of each. Never by row: neighbours in time are nearly the same batch."""
    for split, names in (
        ("configuration", [run.configuration for run in profile.runs]),
        ("run", [run.name for run in profile.runs]),
    ):
        if len(set(names)) > 1:
            return split, _folded(profile.labels(names))
    batches = len(profile.seconds)
    return "time", np.arange(batches, dtype=np.int64) * MOST_FOLDS // batches


def _folded(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """At most MOST_FOLDS parts of about equal size, each of whole groups: the largest group to the smallest part."""
    sizes = np.bincount(labels)
    part_of = np.zeros(len(sizes), dtype=np.int64)
    filled = np.zeros(min(MOST_FOLDS, len(sizes)), dtype=np.int64)
    for group in np.argsort(-sizes, kind="stable"):
        part_of[group] = filled.argmin()
        filled[part_of[group]] += sizes[group]
    return np.asarray(part_of[labels])


def held_out_predictions(
    composition: Column,
    seconds: Column,
    parts: NDArray[np.int64],
    seed: int,
    progress: Progress = lambda _what, _share: None,
) -> dict[str, Column]:
    """What each candidate predicts for each batch, trained without the batch's part."""
    predicted = {name: np.zeros(len(seconds)) for name in CANDIDATES}
    folds = np.unique(parts)
    for number, part in enumerate(folds):
        inside, outside = parts != part, parts == part
        for place, name in enumerate(CANDIDATES):
            done = (number * len(CANDIDATES) + place) / (len(folds) * len(CANDIDATES))
            progress(f"validating {name}, part {number + 1} of {len(folds)}", 0.8 * done)
            model, _ = _fit(name, composition[inside], seconds[inside], seed)
            predicted[name][outside] = model.predict(composition[outside])
    return predicted


def _judged(composition: Column, predicted: Column, measured: Column) -> float:
    """Mean relative error, batches with and without prefill counted alike, however many there are of each."""
    errors, prefill = np.abs(predicted / measured - 1), composition[:, 0] > 0
    return float(np.mean([errors[rows].mean() for rows in (prefill, ~prefill) if rows.any()]))


def _fit(candidate: str, composition: Column, seconds: Column, seed: int) -> tuple[LatencyModel, float]:
    """A candidate's model, and by how much its tables differ from its trees at most."""
    if candidate == TREES:
        coefficients = np.array([seconds.mean(), *[0.0] * (len(TERMS) - 1)])
    else:
        coefficients = fit_physics(composition, seconds)
    floor = float(seconds.min())
    first, *others = coefficients.tolist()
    if candidate == PHYSICS:
        return LatencyModel((first, *others), (), floor), 0.0
    physical = np.maximum(terms(composition) @ coefficients, floor)
    booster = boost(composition, seconds, physical, monotone=candidate == TREES, seed=seed)
    model = LatencyModel((first, *others), tabulate(booster), floor)
    by_trees = np.maximum(terms(composition) @ coefficients * boosted_factor(booster, composition), floor)
    return model, float(np.abs(model.predict(composition) / by_trees - 1).max())
