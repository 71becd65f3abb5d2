"""Learning from busy windows: what they know of the steps that nobody saw."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from engine_looks import watched_benchmark
from linear_step_times import LinearStepTimes
from serviceoptd.domain.stopping.engine_windows import windows
from serviceoptd.predicting.model_file import load, save
from serviceoptd.simulation.schedulers.vllm_limits import VllmLimits
from serviceoptd.simulation.step_times.columns import Column
from serviceoptd.simulation.step_times.linear_terms import fit_terms, terms
from serviceoptd.simulation.step_times.model_card import as_markdown
from serviceoptd.simulation.step_times.profile_data import Profile, ProfileRejected
from serviceoptd.simulation.step_times.training import PHYSICS, train
from serviceoptd.simulation.step_times.windows import FEWEST_STEPS, WindowedRun, as_windows, joined
from serviceoptd.simulation.virtual_clock.interface import Request, composition_of
from synthetic_batches import synthetic_profile

TRUE = np.array([8e-3, 1e-3, 1e-4, 4e-5, 3e-10, 2e-4, 8e-8])
TIMES = LinearStepTimes(*TRUE.tolist())
CONFIGURATIONS = ((4, 256, 2), (8, 512, 8), (16, 512, 16), (32, 1024, 48), (64, 2048, 64))  # seqs, budget, concurrency
LOOK = 0.5  # seconds between two looks


@cache
def simulated(seqs: int, budget: int, concurrency: int) -> tuple[Column, WindowedRun]:
    """The steps of a benchmark, and the windows that looks at its counters give."""
    draws = np.random.default_rng([seqs, concurrency])
    pairs = zip(
        draws.integers(50, 400, 6 * concurrency + 40), draws.integers(20, 160, 6 * concurrency + 40), strict=True
    )
    requests = [Request(int(prompt), int(output)) for prompt, output in pairs]
    limits = VllmLimits(max_num_seqs=seqs, max_num_batched_tokens=budget, max_model_len=1024, kv_blocks=20_000)
    batches, looks = watched_benchmark(requests, limits, TIMES, concurrency=concurrency)
    seen = [looks[1]]
    for look in looks[2:]:
        if look.time - seen[-1].time >= LOOK:
            seen.append(look)
    steps = [composition_of(batch) for batch in batches]
    found = as_windows(windows(seen, looks[0], replaced=True))
    return np.array(steps, dtype=float), WindowedRun(f"measurement {seqs}", f"{seqs} {budget}", found)


def every_run() -> tuple[WindowedRun, ...]:
    return tuple(simulated(*each)[1] for each in CONFIGURATIONS)


def test_the_coefficients_of_the_steps_are_found_again_from_windows_alone() -> None:
    every = joined([run.windows for run in every_run()])
    assert every.every_step.min() >= FEWEST_STEPS
    found = fit_terms(every.totals() / every.every_step[:, None], every.seconds / every.every_step, every.every_step)
    for term in (0, 3, 5):  # step, prompt token, decoding sequence; the others hardly matter here
        assert found[term] == pytest.approx(TRUE[term], rel=0.05)
    steps = np.concatenate([simulated(*each)[0] for each in CONFIGURATIONS])
    assert terms(steps) @ found == pytest.approx(terms(steps) @ TRUE, rel=0.05)


def test_a_model_of_windows_says_so_and_what_it_errs_on_configurations_that_were_held_out(tmp_path: Path) -> None:
    trained = train(Profile((), windowed=every_run()), seed=0)
    card = trained.card
    assert (card.split, card.folds, card.batches, card.chosen) == ("configuration", 5, 0, PHYSICS)
    assert set(card.candidates) == {PHYSICS}
    assert card.windows is not None
    assert card.windows.batches == sum(each.windows for each in card.windowed)
    assert card.windows.mape < 0.02
    page = as_markdown(card, trained.validity)
    held = f"{card.windows.batches} windows with {sum(each.steps for each in card.windowed)} steps of 5 measurements"
    assert held in page
    assert "| measurement 16 | 16 512 |" in page
    assert trained.validity.ranges["decode"]["decode_sequences"][1] > 32
    assert load(save(trained, tmp_path)) == trained
    assert train(Profile((), windowed=every_run()), seed=0) == trained


def test_steps_and_windows_are_learnt_from_together() -> None:
    few = synthetic_profile(80, configurations=((16, 512), (32, 1024)))
    linear = tuple(replace(run, seconds=terms(run.composition) @ TRUE) for run in few.runs)
    trained = train(Profile(linear, windowed=every_run()), seed=0)
    assert len(trained.card.candidates) == 3
    assert trained.card.windows is not None
    assert trained.card.windows.mape < 0.05
    steps = simulated(32, 1024, 48)[0]
    assert trained.model.predict(steps) == pytest.approx(terms(steps) @ TRUE, rel=0.05)
    alone = train(Profile(linear), seed=0)
    assert alone.card.windows is None
    assert alone.card.windowed == ()


def test_trees_are_not_asked_where_the_only_steps_are_held_out() -> None:
    few = synthetic_profile(60, configurations=((16, 512),))
    assert train(Profile(few.runs, windowed=every_run()), seed=0).card.folds == 5


def test_many_equal_steps_weigh_as_their_windows() -> None:
    composition = np.repeat(simulated(8, 512, 8)[0][:40], 25, axis=0)
    seconds = (terms(composition) @ TRUE) * np.exp(0.1 * np.random.default_rng(3).standard_normal(len(composition)))
    of_windows = seconds.reshape(40, 25).mean(axis=1)
    mean = fit_terms(terms(composition[::25]), of_windows, np.full(40, 25.0))
    assert terms(composition) @ mean == pytest.approx(
        terms(composition) @ fit_terms(terms(composition), seconds), rel=0.02
    )


def test_with_too_few_windows_it_says_how_many_there_are_and_what_is_needed() -> None:
    run = every_run()[0]
    short = replace(run, windows=run.windows[:3])
    with pytest.raises(
        ProfileRejected, match=r"3 busy windows of 20 steps or more from 1 measurements.*20 windows are needed"
    ):
        train(Profile((), windowed=(short,)), seed=0)
