"""The model itself: seconds of a step = physical terms x a correction from tables. Pure; needs no XGBoost.

The correction is the sum of trees that were each allowed to look at one pair of features only, so the trees of a pair are
exactly one table over the thresholds of both. Beyond the last threshold a table goes on with its last value: far from the
training data the physical terms decide alone how time grows.
"""

from __future__ import annotations

import math
from bisect import bisect_right

import msgspec
import numpy as np

from serviceopt_journal.documents.models import ModelCard
from serviceoptd.simulation.step_times.columns import Column
from serviceoptd.simulation.step_times.linear_terms import terms
from serviceoptd.simulation.step_times.validity import Validity
from serviceoptd.simulation.virtual_clock.interface import Composed
from serviceoptd.simulation.virtual_clock.overheads import Overheads

PAIRS = (
    ("tokens", "prefill_sequences"),
    ("prefill_tokens", "prefill_attention"),
    ("decode_sequences", "decode_context"),
)
FEATURES = tuple(name for pair in PAIRS for name in pair)
"""Columns that the trees see; `tokens` are the whole batch's, which decide how well its matrix products fill a device."""


def features(composition: Column) -> Column:
    """One row a batch, one column for each of FEATURES."""
    sequences, tokens, attention, decoding, context = composition.T
    return np.column_stack([tokens + decoding, sequences, tokens, attention, decoding, context])


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The logarithm of a factor by two features: `values[i][j]` where i and j thresholds are not above them."""

    first: list[float]
    second: list[float]
    values: list[list[float]]


class LatencyModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long a step takes. Satisfies `serviceoptd.simulation.virtual_clock.interface.StepTimes`.

    Attributes:
        coefficients: seconds for each of `physics.TERMS`.
        tables: one for each of PAIRS; none where the physical terms alone were better.
        floor: seconds of the fastest step that was seen; no prediction is below.
    """

    coefficients: tuple[float, float, float, float, float, float, float]
    tables: tuple[Table, ...]
    floor: float

    def step_seconds(self, step: Composed) -> float:
        """Seconds of one step; never less than the fastest one that was seen."""
        prefill_sequences, prefill_tokens = step.prefill_sequences, step.prefill_tokens
        decode_sequences, decode_context = step.decode_sequences, step.decode_context
        launching, with_prefill, sequence, token, attention, decoding, context = self.coefficients
        seconds = launching + decoding * decode_sequences + context * decode_context
        if prefill_sequences:
            seconds += (
                with_prefill
                + sequence * prefill_sequences
                + token * prefill_tokens
                + attention * step.prefill_attention
            )
        if self.tables:
            whole, prefill, decode = self.tables
            seconds *= math.exp(
                whole.values[bisect_right(whole.first, prefill_tokens + decode_sequences)][
                    bisect_right(whole.second, prefill_sequences)
                ]
                + prefill.values[bisect_right(prefill.first, prefill_tokens)][
                    bisect_right(prefill.second, step.prefill_attention)
                ]
                + decode.values[bisect_right(decode.first, decode_sequences)][
                    bisect_right(decode.second, decode_context)
                ]
            )
        return seconds if seconds > self.floor else self.floor

    def predict(self, composition: Column) -> Column:
        """Seconds of many steps at once, one row of COMPOSITION each."""
        seconds = terms(composition) @ np.array(self.coefficients)
        columns = features(composition).T
        for number, table in enumerate(self.tables):
            first = np.searchsorted(table.first, columns[2 * number], side="right")
            second = np.searchsorted(table.second, columns[2 * number + 1], side="right")
            seconds = seconds * np.exp(np.array(table.values)[first, second])
        return np.asarray(np.maximum(seconds, self.floor), dtype=float)


class TrainedModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A model, where it may be believed, and what is known of its errors."""

    model: LatencyModel
    validity: Validity
    card: ModelCard
    overheads: Overheads | None = None  # around the engine; None: no client's results were there to fit them to
