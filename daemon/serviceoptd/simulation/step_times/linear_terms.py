"""The physical part of the model: a sum of seven terms that each cost time, none of them negative. Pure."""

from __future__ import annotations

import numpy as np

from serviceoptd.simulation.step_times.columns import Column

TERMS = (
    "step",  # one launch of the model: reading its weights, scheduling, the host's work
    "with_prefill",  # a batch with any prompt takes another path
    "prefill_sequence",
    "prefill_token",  # matrix products
    "prefill_attention",  # pairs of a query and a key
    "decode_sequence",
    "decode_context",  # reading the cache of keys and values
)
REWEIGHTINGS = 5


def terms(composition: Column) -> Column:
    """One row a batch, one column for each of TERMS."""
    sequences, tokens, attention, decoding, context = composition.T
    ones = np.ones(len(composition))
    return np.column_stack([ones, sequences > 0, sequences, tokens, attention, decoding, context]).astype(float)


def fit_terms(columns: Column, seconds: Column, steps: Column | None = None) -> Column:
    """Seconds for each of TERMS, none below 0, from rows of TERMS. `steps`: of how many each row is the mean; None: of one.

    Least squares of errors relative to the prediction, solved again with the weights of the solution before it: the gamma
    regression with identity link (McCullagh and Nelder, 1989), with the constraint of Lawson and Hanson (1974). Errors
    relative to the measured value would prefer too short times wherever times scatter.
    """
    weights = np.ones(len(seconds)) if steps is None else np.sqrt(steps)
    expected = seconds
    for _ in range(REWEIGHTINGS):
        coefficients = _relative_least_squares(columns, seconds, expected / weights)
        expected = np.maximum(columns @ coefficients, seconds.min())
    return coefficients


def _relative_least_squares(columns: Column, seconds: Column, expected: Column) -> Column:
    from scipy.optimize import nnls  # here, because a model that is only used does without it

    weighted = columns / expected[:, None]
    scale = weighted.max(axis=0)
    scale[scale == 0] = 1.0  # a term that no batch has costs nothing
    triangle: Column = np.linalg.qr(np.column_stack([weighted / scale, seconds / expected])).R
    coefficients, _ = nnls(triangle[:, :-1], triangle[:, -1])
    return np.asarray(coefficients / scale)
