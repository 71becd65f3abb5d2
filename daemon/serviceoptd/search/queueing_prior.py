"""What queueing says about a served model: the prior mean of the surrogate, fitted to the measurements of the run.

One step of a batch of n sequences takes a + b n seconds (Yu et al., Orca, OSDI 2022, section 2; Agrawal et al.,
Sarathi-Serve, OSDI 2024): the time per output token. So the service gives n / (a + b n) tokens/s, or what is asked of it
if that is less, and by Little's law (J. D. C. Little, Operations Research 9(3), 1961) n = throughput x time per token.
No more run at once than its sequences, the client's concurrency and its memory allow; the other requests in flight wait.
a, b, the memory and the time of a prompt depend on the other parameters by factors, log-linear in their features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

Array = NDArray[np.float64]

SHARPNESS = 8.0
"""Power of the smooth minimum; demand equal to capacity gives 92 % of it."""
MODEL_ERROR = np.array([0.08, 0.08, 0.25])
"""Standard deviation of what it gets wrong in log throughput, TPOT and TTFT where it fits well."""
EFFECT_SPREAD = 0.7  # standard deviation of a parameter's logarithmic effect across its range
UNLIMITED = 1e6
BASE, WITH_EFFECTS = 6, 4
"""Coefficients, and how many of them, the first, depend on the other parameters."""
STEP = 1e-4
SMALL = 1e-6


@dataclass(frozen=True)
class Demand:
    """What is asked of the service, one entry a position; infinity: not limited."""

    sequences: Array
    concurrency: Array
    tokens: Array  # output tokens/s
    tokens_of_request: float
    parameters: Array  # (n, k) features of everything else, about [0, 1]


@dataclass(frozen=True)
class Steady:
    """Logarithms of throughput (tokens/s), TPOT and TTFT (s), of demand over capacity, and of running sequences."""

    throughput: Array
    tpot: Array
    ttft: Array
    utilisation: Array
    running: Array


def steady(coefficients: Array, demand: Demand) -> Steady:
    """The steady state at each position."""
    k = demand.parameters.shape[1]
    centred = demand.parameters - 0.5
    base, effects = coefficients[:BASE], coefficients[BASE:].reshape(WITH_EFFECTS, k)
    step, share, memory, prompt = (np.exp(base[i] + centred @ effects[i]) for i in range(WITH_EFFECTS))
    most = _smooth_minimum(_smooth_minimum(demand.sequences, demand.concurrency), memory)
    capacity = most / (step + share * most)
    throughput = _smooth_minimum(demand.tokens, capacity)
    running = step * throughput / np.maximum(1 - share * throughput, 1e-6)
    tpot = step + share * running
    utilisation = np.log(np.minimum(demand.tokens, UNLIMITED)) - np.log(capacity)
    saturated = 1 / (1 + np.exp(-SHARPNESS * np.clip(utilisation, -4, 4)))
    in_flight = np.minimum(demand.concurrency, UNLIMITED)
    ahead = np.maximum(in_flight - most, 0.0) + np.exp(base[5])
    waiting = saturated * ahead * demand.tokens_of_request / throughput
    ttft = prompt + np.exp(base[4]) * tpot + waiting
    return Steady(np.log(throughput), np.log(tpot), np.log(ttft), utilisation, np.log(running))


@dataclass(frozen=True)
class Fitted:
    """Coefficients and how well they are known (Laplace's approximation)."""

    coefficients: Array
    covariance: Array

    def variance(self, demand: Demand, logarithms: Callable[[Steady], Array]) -> Array:
        """Variances of what `logarithms` makes of the steady state, (r, m), for not knowing the coefficients exactly."""
        gradient = _gradient(self.coefficients, demand, logarithms)
        return np.asarray(((gradient @ self.covariance) * gradient).sum(axis=2))


def fit(demand: Demand, throughput: Array, tpot: Array, ttft: Array) -> Fitted:
    """The coefficients that explain measurements best: logarithms of tokens/s and seconds, one each position.

    A robust least-squares fit (soft L1) with a normal prior on each coefficient; works from one measurement on.
    """
    effects = WITH_EFFECTS * demand.parameters.shape[1]
    typical = float(np.median(tpot))
    most = float(np.log(min(np.max(np.minimum(demand.sequences, demand.concurrency)), UNLIMITED)))
    usual = [typical - 0.5, typical - 4.5, most + 0.5, float(np.min(ttft)), 0.0, -1.5]
    centre = np.concatenate([usual, np.zeros(effects)])
    spread = np.concatenate([[1.0, 2.0, 1.5, 1.0, 1.0, 1.5], np.full(effects, EFFECT_SPREAD)])

    def logarithms(told: Steady) -> Array:
        return np.stack([told.throughput, told.tpot, told.ttft])

    measured, error = np.stack([throughput, tpot, ttft]), MODEL_ERROR[:, None]

    def residuals(coefficients: Array) -> Array:
        apart = (logarithms(steady(coefficients, demand)) - measured) / error
        return np.concatenate([_soft(apart)[0].ravel(), (coefficients - centre) / spread])

    def jacobian(coefficients: Array) -> Array:
        slope = _soft((logarithms(steady(coefficients, demand)) - measured) / error)[1] / error
        gradient = _gradient(coefficients, demand, logarithms) * slope[:, :, None]
        return np.concatenate([gradient.reshape(-1, len(centre)), np.diag(1 / spread)])

    bounds = (centre - 5 * spread, centre + 5 * spread)
    found = least_squares(residuals, centre, jac=jacobian, max_nfev=30, bounds=bounds)
    information = found.jac.T @ found.jac
    return Fitted(np.asarray(found.x), np.linalg.inv(information))


def _soft(apart: Array) -> tuple[Array, Array]:
    """What soft L1 makes of residuals, so that its squares are summed, and its slope."""
    root = np.sqrt(1 + apart**2)
    soft = np.sign(apart) * np.sqrt(2 * (root - 1))
    small = np.abs(soft) < SMALL
    return soft, np.where(small, 1.0, apart / (root * np.where(small, 1.0, soft)))


def _gradient(coefficients: Array, demand: Demand, logarithms: Callable[[Steady], Array]) -> Array:
    """Slopes of what `logarithms` makes of the steady state (r, m) in each coefficient, (r, m, coefficients).

    By differences in the few base coefficients alone: an effect acts through its base, times the parameter's feature.
    """
    told = logarithms(steady(coefficients, demand))
    slopes = []
    for index in range(BASE):
        moved = coefficients.copy()
        moved[index] += STEP
        slopes.append((logarithms(steady(moved, demand)) - told) / STEP)
    centred = demand.parameters - 0.5
    effects = [slopes[index][:, :, None] * centred[None, :, :] for index in range(WITH_EFFECTS)]
    return np.concatenate([np.stack(slopes, axis=2), *effects], axis=2)


def _smooth_minimum(left: Array, right: Array) -> Array:
    left, right = np.minimum(left, UNLIMITED), np.minimum(right, UNLIMITED)
    smaller, larger = np.minimum(left, right), np.maximum(left, right)
    return np.asarray(smaller * (1 + (smaller / larger) ** SHARPNESS) ** (-1 / SHARPNESS))
