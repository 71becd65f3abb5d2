"""Gaussian process regression: a function known at noisy points, with its uncertainty everywhere else.

The kernel is a constant, a linear trend, and a Matern 5/2 with a length for each dimension (C. E. Rasmussen, C. K. I.
Williams, Gaussian Processes for Machine Learning, MIT Press 2006, chapters 2, 4 and 5). Its hyperparameters maximise the
posterior density: the marginal likelihood times priors that keep a handful of points from meaning too much.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize
from threadpoolctl import ThreadpoolController

Array = NDArray[np.float64]

on_one_thread = ThreadpoolController().wrap(limits=1, user_api="blas")
"""Matrices are small, and on a busy machine more threads wait for each other much longer than they work."""

LENGTH_SPREAD = 1.0
"""Standard deviation of a logarithmic length about that of the unit cube's side."""
NOISE_SPREAD = 0.5
FITTING_STEPS = 40
JITTER = 1e-8


@dataclass(frozen=True)
class Hyperparameters:
    """Logarithms of lengths (one a dimension), of the signal's size, of the trend's slope and of the noise."""

    lengths: Array
    signal: float
    slope: float
    noise: float

    def vector(self) -> Array:
        """The hyperparameters as one vector, in the order that `fit` optimises."""
        return np.concatenate([self.lengths, [self.signal, self.slope, self.noise]])

    @classmethod
    def of(cls, vector: Array) -> Hyperparameters:
        return cls(vector[:-3], float(vector[-3]), float(vector[-2]), float(vector[-1]))


@dataclass(frozen=True)
class GaussianProcess:
    """A fitted Gaussian process. Build it with `fit`."""

    points: Array  # (n, d)
    hyperparameters: Hyperparameters
    constant: float  # standard deviation of the constant
    weights: Array
    factor: Array  # lower Cholesky factor of the covariance of the measured values

    @classmethod
    def fit(
        cls, points: Array, values: Array, *, noise: float, size: float, constant: float, fitted_on: int = 128
    ) -> GaussianProcess:
        """The process through `values` (n) at `points` (n, d), for values about zero.

        Args:
            points: in or near the unit cube.
            values: measured there.
            noise: standard deviation of a measurement, as far as it is known beforehand.
            size: standard deviation of the function, as far as it is known beforehand.
            constant: standard deviation of its mean.
            fitted_on: hyperparameters are fitted on so many points at most, the last ones.
        """
        prior = np.concatenate([np.zeros(points.shape[1]), np.log([size, size / 2, noise])])
        spread = np.concatenate([np.full(points.shape[1], LENGTH_SPREAD), [0.7, 1.0, NOISE_SPREAD]])
        few, their = points[-fitted_on:], values[-fitted_on:]
        squares = np.ascontiguousarray(((few[:, None, :] - few[None, :, :]) ** 2).transpose(2, 0, 1))
        products = few @ few.T

        def loss(vector: Array) -> tuple[float, Array]:
            value, gradient = _negative_log_likelihood(vector, squares, products, their, constant)
            apart = (vector - prior) / spread
            return value + 0.5 * float(apart @ apart), gradient + apart / spread

        bounds = list(zip(prior - 4 * spread, prior + 4 * spread, strict=True))
        found = minimize(loss, prior, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": FITTING_STEPS})
        return cls.conditioned(points, values, Hyperparameters.of(found.x), constant)

    @classmethod
    def conditioned(
        cls, points: Array, values: Array, hyperparameters: Hyperparameters, constant: float
    ) -> GaussianProcess:
        """The process with these hyperparameters through these values."""
        covariance = _kernel(points, points, hyperparameters, constant)
        covariance[np.diag_indices_from(covariance)] += np.exp(2 * hyperparameters.noise) + JITTER
        factor = cho_factor(covariance, lower=True)
        return cls(points, hyperparameters, constant, cho_solve(factor, values), np.tril(factor[0]))

    @property
    def noise(self) -> float:
        """Standard deviation of one measurement."""
        return float(np.exp(self.hyperparameters.noise))

    def predict(self, points: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the function itself, without the noise of a measurement, at `points` (m, d)."""
        across = _kernel(points, self.points, self.hyperparameters, self.constant)
        explained = solve_triangular(self.factor, across.T, lower=True)
        hyper = self.hyperparameters
        own = (
            np.exp(2 * hyper.signal)
            + self.constant**2
            + np.exp(2 * hyper.slope) * np.einsum("ij,ij->i", points, points)
        )
        variance = np.maximum(own - np.einsum("ij,ij->j", explained, explained), 1e-12)
        return across @ self.weights, np.sqrt(variance)


def _kernel(left: Array, right: Array, hyper: Hyperparameters, constant: float) -> Array:
    lengths = np.exp(hyper.lengths)
    a, b = left / lengths, right / lengths
    squared = np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1)[None, :] - 2 * a @ b.T, 0.0)
    scaled = np.sqrt(5 * squared)
    matern = np.exp(2 * hyper.signal) * (1 + scaled + scaled**2 / 3) * np.exp(-scaled)
    return np.asarray(matern + np.exp(2 * hyper.slope) * (left @ right.T) + constant**2)


def _negative_log_likelihood(
    vector: Array, squares: Array, products: Array, values: Array, constant: float
) -> tuple[float, Array]:
    """Rasmussen and Williams, equations 2.30 and 5.9."""
    hyper = Hyperparameters.of(vector)
    inverse_squares = np.exp(-2 * hyper.lengths)
    scaled = np.sqrt(5 * np.tensordot(inverse_squares, squares, 1))
    decay = np.exp(2 * hyper.signal - scaled)
    matern = (1 + scaled + scaled**2 / 3) * decay
    trend = np.exp(2 * hyper.slope) * products
    covariance = matern + trend + constant**2
    count = len(values)
    noise = np.exp(2 * hyper.noise)
    covariance[np.diag_indices(count)] += noise + JITTER
    factor = cho_factor(covariance, lower=True)
    inverse = cho_solve(factor, np.eye(count))
    weights = inverse @ values
    value = 0.5 * values @ weights + np.log(np.diag(factor[0])).sum() + 0.5 * count * np.log(2 * np.pi)
    difference = inverse - np.outer(weights, weights)
    # d matern / d log(length_i) = signal^2 5/3 (1 + scaled) exp(-scaled) squares_i / length_i^2
    common = difference * (5 / 3 * (1 + scaled) * decay)
    lengths = 0.5 * np.tensordot(squares, common, 2) * inverse_squares
    gradient = np.concatenate(
        [lengths, [(difference * matern).sum(), (difference * trend).sum(), noise * np.trace(difference)]]
    )
    return float(value), gradient
