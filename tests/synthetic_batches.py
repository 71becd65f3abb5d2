"""Batches of an imagined engine, not measured anywhere: for tests of training and for its benches."""

from __future__ import annotations

import numpy as np

from serviceoptd.simulation.step_times.columns import Column
from serviceoptd.simulation.step_times.profile_data import Profile, Run

Configuration = tuple[int, int]  # most sequences, token budget
CONFIGURATIONS: tuple[Configuration, ...] = ((16, 512), (32, 2048), (64, 1024), (128, 4096), (256, 2048), (256, 8192))


def synthetic_seconds(composition: Column) -> Column:
    """A device whose matrix products come in tiles of 64 tokens and hide behind reading the weights while they are few."""
    sequences, tokens, attention, decoding, context = composition.T
    whole = np.ceil((tokens + decoding) / 64) * 64
    products = np.maximum(8e-3, 4.5e-5 * whole)
    return (
        1.5e-3 + products + 4e-10 * attention + 9e-8 * context + 2e-5 * (sequences + decoding) + 1e-3 * (sequences > 0)
    )


def synthetic_run(configuration: Configuration, batches: int, *, seed: int, noise: float = 0.02) -> Run:
    """One run: half of the batches decode, a tenth only prefills."""
    most, budget = configuration
    draws = np.random.default_rng([seed, most, budget])
    decoding = draws.integers(1, most + 1, batches)
    kind = draws.random(batches)
    decoding[kind > 0.9] = 0
    prefilling = np.where(kind < 0.5, 0, draws.integers(1, 5, batches))
    tokens = np.where(prefilling > 0, draws.integers(16, np.maximum(budget - decoding, 17), batches), 0)
    prefilling = np.minimum(prefilling, tokens)
    computed = draws.integers(0, 2000, batches) * (draws.random(batches) < 0.3)
    each = tokens / np.maximum(prefilling, 1)
    attention = np.floor(tokens * computed + tokens * (each + 1) / 2)
    context = decoding * draws.integers(50, 3000, batches)
    composition = np.column_stack([prefilling, tokens, attention, decoding, context]).astype(float)
    seconds = synthetic_seconds(composition) * np.exp(noise * draws.standard_normal(batches))
    name = f"seqs{most}_tokens{budget}"
    return Run(f"{name}/synthetic.csv", name, "vllm", composition, seconds)


def synthetic_profile(
    batches: int, *, seed: int = 0, configurations: tuple[Configuration, ...] = CONFIGURATIONS, noise: float = 0.02
) -> Profile:
    """`batches` of each configuration."""
    return Profile(tuple(synthetic_run(each, batches, seed=seed, noise=noise) for each in configurations))
