"""Trains the candidates, holds out configurations to judge them, and keeps the best. Pure but for the progress."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from serviceopt_journal.documents.models import BenchmarkErrors, ModelCard, Recording, WindowedRecording
from serviceoptd.simulation.step_times.boosting import boost, boosted_factor, require_xgboost, tabulate
from serviceoptd.simulation.step_times.columns import Column
from serviceoptd.simulation.step_times.fitting_overheads import fit_overheads, held_out_errors
from serviceoptd.simulation.step_times.latency_model import LatencyModel, TrainedModel
from serviceoptd.simulation.step_times.linear_terms import TERMS, fit_terms, terms
from serviceoptd.simulation.step_times.model_card import by_size, by_stage, error_line
from serviceoptd.simulation.step_times.profile_data import Profile, ProfileRejected, Progress, Run
from serviceoptd.simulation.step_times.validity import covered
from serviceoptd.simulation.step_times.windows import FEWEST_STEPS, WindowedRun, Windows, joined

FEWEST_BATCHES = 50
FEWEST_WINDOWS = 20  # three for each physical term
MOST_FOLDS = 5
VALIDATION_BATCHES = 200_000  # the errors are known well enough by then; the model itself learns from all
PHYSICS, TREES, BOTH = "physical terms", "monotone trees", "physical terms and trees"
CANDIDATES = (PHYSICS, TREES, BOTH)  # of equal ones the first, which is the simplest


def train(profile: Profile, *, seed: int, progress: Progress = lambda _what, _share: None) -> TrainedModel:
    """Trains the model of this profile. Equal profiles and seeds give equal models, to the bit.

    Raises:
        ProfileRejected: there are too few batches, and too few windows.
        EnvironmentLacks: XGBoost is not installed.
    """
    version = require_xgboost().__version__
    composition, seconds = profile.composition, profile.seconds
    windows = joined([run.windows for run in profile.windowed])
    names = CANDIDATES if len(seconds) >= FEWEST_BATCHES else (PHYSICS,)
    if len(seconds) < FEWEST_BATCHES and len(windows.seconds) < FEWEST_WINDOWS:
        raise _too_few(profile, windows)
    split, of_rows = validation_parts(profile)
    parts, of_windows = of_rows[: len(seconds)], of_rows[len(seconds) :]
    every = slice(None, None, -(-len(seconds) // VALIDATION_BATCHES) or 1)
    some, measured = composition[every], seconds[every]
    of_batches, of_held = held_out_predictions(names, some, measured, parts[every], windows, of_windows, seed, progress)
    candidates = {
        name: _judged(some, found, measured) if len(seconds) else error_line(of_held[name], windows.seconds).mape
        for name, found in of_batches.items()
    }
    chosen = min(names, key=candidates.__getitem__)
    progress(f"training {chosen} on {len(seconds)} batches and {len(windows.seconds)} windows", 0.8)
    model, deviation = _fit(chosen, composition, seconds, seed, windows)
    overheads, benchmarks = None, {}
    if profile.loads:
        progress("fitting the overheads around the engine", 0.85)
        overheads = fit_overheads(profile.loads, model)
        progress("validating the overheads around the engine", 0.9)
        benchmarks = _held_out_benchmarks(profile, split, of_rows, chosen, seed)
    card = ModelCard(
        recordings=tuple(_recording(run) for run in profile.runs),
        batches=len(seconds),
        seed=seed,
        split=split,
        folds=len(np.unique(of_rows)),
        candidates=candidates,
        chosen=chosen,
        by_stage=by_stage(some, of_batches[chosen], measured),
        by_size=by_size(some, of_batches[chosen], measured),
        table_deviation=deviation,
        xgboost=version,
        benchmarks=benchmarks,
        windowed=tuple(_windowed(run) for run in profile.windowed),
        windows=error_line(of_held[chosen], windows.seconds) if len(windows.seconds) else None,
    )
    progress("done", 1.0)
    return TrainedModel(model, covered(np.concatenate([composition, windows.covered()])), card, overheads)


def _recording(run: Run) -> Recording:
    return Recording(run.name, run.configuration, run.framework, len(run.seconds), run.left_out)


def _windowed(run: WindowedRun) -> WindowedRecording:
    windows = run.windows
    return WindowedRecording(run.name, run.configuration, len(windows.seconds), round(float(windows.every_step.sum())))


def _too_few(profile: Profile, windows: Windows) -> ProfileRejected:
    if not profile.windowed:
        return ProfileRejected(
            "the profiling data",
            f"has {len(profile.seconds)} batches, too few to learn from; at least {FEWEST_BATCHES} are needed",
            hint="profile a longer benchmark, better with several concurrencies and lengths",
        )
    return ProfileRejected(
        "the profiling data",
        f"has {len(profile.seconds)} batches, and {len(windows.seconds)} busy windows of {FEWEST_STEPS} steps or more "
        f"from {len(profile.windowed)} measurements; "
        f"at least {FEWEST_BATCHES} batches or {FEWEST_WINDOWS} windows are needed",
        hint="measure more or longer, at several loads, with a smaller early_stopping.interval; or use `profile`",
    )


def validation_parts(profile: Profile) -> tuple[str, NDArray[np.int64]]:
    """How the rows are split, and the part of each. Never by row: neighbours in time are nearly the same batch."""
    every: tuple[Run | WindowedRun, ...] = (*profile.runs, *profile.windowed)
    for split, names in (
        ("configuration", [run.configuration for run in every]),
        ("run", [run.name for run in every]),
    ):
        if len(set(names)) > 1:
            return split, _folded(profile.labels(names))
    rows = sum(profile.lengths)
    return "time", np.arange(rows, dtype=np.int64) * MOST_FOLDS // rows


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
    names: Sequence[str],
    composition: Column,
    seconds: Column,
    parts: NDArray[np.int64],
    windows: Windows,
    of_windows: NDArray[np.int64],
    seed: int,
    progress: Progress,
) -> tuple[dict[str, Column], dict[str, Column]]:
    """What each candidate of `names` predicts for each batch, and for each window, in seconds, trained without its part."""
    predicted = {name: np.zeros(len(seconds)) for name in names}
    for_windows = {name: np.zeros(len(windows.seconds)) for name in names}
    folds = np.unique(np.concatenate([parts, of_windows]))
    for number, part in enumerate(folds):
        inside, outside = parts != part, parts == part
        for place, name in enumerate(names):
            done = (number * len(names) + place) / (len(folds) * len(names))
            progress(f"validating {name}, part {number + 1} of {len(folds)}", 0.8 * done)
            model, _ = _fit(name, composition[inside], seconds[inside], seed, windows[of_windows != part])
            predicted[name][outside] = model.predict(composition[outside])
            for_windows[name][of_windows == part] = windows[of_windows == part].predicted(model)
    return predicted, for_windows


def _held_out_benchmarks(
    profile: Profile, split: str, parts: NDArray[np.int64], chosen: str, seed: int
) -> dict[str, BenchmarkErrors]:
    """Errors of the benchmarks, each predicted without anything of its configuration or run; none where there is one run."""
    if split == "time":
        return {}
    composition, seconds = profile.composition, profile.seconds
    windows = joined([run.windows for run in profile.windowed])
    of_batches, of_windows = parts[: len(seconds)], parts[len(seconds) :]
    ends = np.cumsum([len(run.seconds) for run in profile.runs])
    part_of = {run.name: int(parts[end - 1]) for run, end in zip(profile.runs, ends, strict=True)}

    def model_without(part: int) -> LatencyModel:
        inside = np.flatnonzero(of_batches != part)
        some = inside[:: -(-len(inside) // VALIDATION_BATCHES) or 1]
        return _fit(chosen, composition[some], seconds[some], seed, windows[of_windows != part])[0]

    return held_out_errors(profile.loads, [part_of[load.run] for load in profile.loads], model_without)


def _judged(composition: Column, predicted: Column, measured: Column) -> float:
    """Mean relative error, batches with and without prefill counted alike, however many there are of each."""
    errors, prefill = np.abs(predicted / measured - 1), composition[:, 0] > 0
    return float(np.mean([errors[rows].mean() for rows in (prefill, ~prefill) if rows.any()]))


def _fit(
    candidate: str, composition: Column, seconds: Column, seed: int, windows: Windows
) -> tuple[LatencyModel, float]:
    """A candidate's model, and by how much its tables differ from its trees at most.

    Windows teach the physical terms alone; where there is nothing else, these are the model.
    """
    if candidate == TREES and len(seconds):
        coefficients = np.array([seconds.mean(), *[0.0] * (len(TERMS) - 1)])
    else:
        steps = np.concatenate([np.ones(len(seconds)), windows.every_step])
        columns = np.concatenate([terms(composition), windows.totals() / windows.every_step[:, None]])
        coefficients = fit_terms(columns, np.concatenate([seconds, windows.seconds / windows.every_step]), steps)
    first, *others = coefficients.tolist()
    smallest = first + others[TERMS.index("decode_sequence") - 1]
    floor = float(seconds.min()) if len(seconds) else smallest
    if candidate == PHYSICS or not len(seconds):
        return LatencyModel((first, *others), (), floor), 0.0
    physical = np.maximum(terms(composition) @ coefficients, floor)
    booster = boost(composition, seconds, physical, monotone=candidate == TREES, seed=seed)
    model = LatencyModel((first, *others), tabulate(booster), floor)
    by_trees = np.maximum(terms(composition) @ coefficients * boosted_factor(booster, composition), floor)
    return model, float(np.abs(model.predict(composition) / by_trees - 1).max())
