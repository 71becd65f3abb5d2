"""Busy windows of an engine as training data: of each only the sums over its steps are known. Pure.

A window stands for two mean batches, those of its steps with and without a prompt. The physical terms are linear, so their
sums over the window follow exactly; what the trees would add is approximate, and they never learn from windows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from serviceoptd.domain.stopping.engine_windows import Window
from serviceoptd.simulation.step_times.columns import COMPOSITION, Column
from serviceoptd.simulation.step_times.latency_model import LatencyModel
from serviceoptd.simulation.step_times.linear_terms import TERMS, terms

FEWEST_STEPS = 20
"""Of a window. The last step before a look may be counted with the window before or after: of 20, that is 5 %."""


@dataclass(frozen=True)
class Windows:
    """The windows of time of an engine, one row for each."""

    batches: Column  # [with a prompt, without][window][COMPOSITION]: the mean batch of such steps
    steps: Column  # [with a prompt, without][window]: how many there were
    seconds: Column

    @property
    def every_step(self) -> Column:
        """The number of steps in each window."""
        return np.asarray(self.steps.sum(axis=0))

    def totals(self) -> Column:
        """One row a window, one column for each of TERMS: sums over its steps."""
        each = terms(self.batches.reshape(-1, len(COMPOSITION))).reshape(2, len(self.seconds), len(TERMS))
        return np.asarray((self.steps[:, :, None] * each).sum(axis=0))

    def predicted(self, model: LatencyModel) -> Column:
        """Seconds of each window by a model; with tables those of its mean batches."""
        each = model.predict(self.batches.reshape(-1, len(COMPOSITION))).reshape(self.steps.shape)
        return np.asarray((self.steps * each).sum(axis=0))

    def covered(self) -> Column:
        """The mean batches that there were, one row each."""
        return np.asarray(self.batches[self.steps > 0])

    def __getitem__(self, rows: Any) -> Windows:
        return Windows(self.batches[:, rows], self.steps[:, rows], self.seconds[rows])


@dataclass(frozen=True)
class WindowedRun:
    """The windows of one measurement."""

    name: str
    configuration: str  # measurements of the same one are never split between training and validation
    windows: Windows


def joined(parts: Sequence[Windows]) -> Windows:
    """All windows, one after the other."""
    return Windows(
        np.concatenate([np.zeros((2, 0, len(COMPOSITION))), *(part.batches for part in parts)], axis=1),
        np.concatenate([np.zeros((2, 0)), *(part.steps for part in parts)], axis=1),
        np.concatenate([np.zeros(0), *(part.seconds for part in parts)]),
    )


def as_windows(found: Iterable[Window]) -> Windows:
    """Windows in a row are put together until each has FEWEST_STEPS; what is left of fewer is left out."""
    sums, counts, times = [], [], []
    row, steps, seconds = np.zeros(len(COMPOSITION)), np.zeros(2), 0.0
    for window in found:
        row = row + _sums(window)
        steps = steps + np.array([window.prefill_steps, window.steps - window.prefill_steps])
        seconds += window.seconds
        if steps.sum() >= FEWEST_STEPS:
            sums.append(row)
            counts.append(steps)
            times.append(seconds)
            row, steps, seconds = np.zeros(len(COMPOSITION)), np.zeros(2), 0.0
    if not times:
        return joined([])
    of_both = np.array(counts).T
    return Windows(_mean_batches(np.array(sums), of_both), of_both, np.array(times))


def _sums(window: Window) -> Column:
    """Sums over the window's steps, one for each of COMPOSITION. Its prompts count as equally long."""
    computed = window.prompt_tokens / max(window.prompts, 1)
    behind = window.cached_tokens / max(window.prompts, 1)
    attention = window.prompts * (computed * behind + computed * (computed + 1) / 2)
    sums = (window.prompts, window.prompt_tokens, attention, window.decode_tokens, window.decode_context)
    return np.array(sums, dtype=float)


def _mean_batches(sums: Column, counts: Column) -> Column:
    """Prompts fall to the steps that have any, sequences that decode to all steps alike."""
    prompts = sums[:, :3] / np.maximum(counts[0], 1)[:, None]
    decoding = sums[:, 3:] / counts.sum(axis=0)[:, None]
    none = np.zeros_like(prompts)
    return np.stack([np.column_stack([prompts, decoding]), np.column_stack([none, decoding])])
