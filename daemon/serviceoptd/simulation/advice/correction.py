"""What a simulator predicts of one quantity, corrected by what was measured in this run, and how far that is believed.

The logarithm of measured / predicted is a Gaussian process over the parameters: a bias, a trend, and what is left
(the discrepancy of M. C. Kennedy, A. O'Hagan, Bayesian Calibration of Computer Models, Journal of the Royal Statistical
Society B 63(3), 2001). Beside it stands a process that knows the measurements alone. Each is asked about every measured
point as if it had not been measured, and the simulator's weight is its part of the two likelihoods (pseudo-BMA: Y. Yao,
A. Vehtari, D. Simpson, A. Gelman, Using Stacking to Average Bayesian Predictive Distributions, Bayesian Analysis 13(3),
2018), with its lead reduced by one standard error so that luck on a few points is none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import expit, log_ndtr

from serviceoptd.search.gaussian_process import GaussianProcess

Array = NDArray[np.float64]

FEWEST = 3
"""Points below which nothing can be left out and predicted; then the simulator counts half."""
NOT_KNOWN = 0.5
BIAS = 0.5
"""Standard deviation of the logarithm of measured / predicted that is the same everywhere, known beforehand."""
DISCREPANCY = 0.25
"""The same of what changes with the parameters."""
WITHOUT = 1.0
"""Standard deviation of the logarithm of the measurements themselves."""


@dataclass(frozen=True)
class Belief:
    """Two expectations of a logarithm at each of m positions: by the corrected simulator, and without a simulator."""

    weight: float  # of the first, from 0 to 1
    corrected: Array
    deviation: Array
    without: Array
    deviation_without: Array

    def log_below(self, limit: float) -> Array:
        """Logarithm of the probability that a measurement is not above `limit` (a logarithm itself)."""
        ours = log_ndtr((limit - self.corrected) / self.deviation)
        theirs = log_ndtr((limit - self.without) / self.deviation_without)
        return np.asarray(np.logaddexp(_log(self.weight) + ours, _log(1.0 - self.weight) + theirs))

    def log_above(self, limit: float) -> Array:
        """The logarithm of the probability of not being below it."""
        ours = log_ndtr((self.corrected - limit) / self.deviation)
        theirs = log_ndtr((self.without - limit) / self.deviation_without)
        return np.asarray(np.logaddexp(_log(self.weight) + ours, _log(1.0 - self.weight) + theirs))


class Correction:
    """One quantity of one run. Needs at least one measured point."""

    def __init__(self, features: Array, predicted: Array, measured: Array, noise: float) -> None:
        """Learns.

        Args:
            features: (n, d), in or near the unit cube.
            predicted: logarithms of what the simulator said of the n points.
            measured: logarithms of what was measured there.
            noise: relative standard deviation of a measurement, as far as it is known beforehand.
        """
        apart = measured - predicted
        self._ratio = GaussianProcess.fit(features, apart, noise=noise, size=DISCREPANCY, constant=BIAS)
        self._middle = float(np.median(measured))
        alone = measured - self._middle
        self._alone = GaussianProcess.fit(features, alone, noise=noise, size=WITHOUT, constant=WITHOUT)
        self.weight = NOT_KNOWN
        if len(measured) >= FEWEST:
            lead = left_out(self._ratio, apart) - left_out(self._alone, alone)
            luck = float(np.sqrt(len(lead) * lead.var(ddof=1)))
            self.weight = float(expit(lead.sum() - luck))

    def at(self, features: Array, predicted: Array) -> Belief:
        """What to expect of a measurement at (m, d), where the simulator says `predicted` (logarithms)."""
        ratio, deviation = self._ratio.predict(features)
        alone, deviation_alone = self._alone.predict(features)
        return Belief(
            weight=self.weight,
            corrected=predicted + ratio,
            deviation=np.hypot(deviation, self._ratio.noise),
            without=self._middle + alone,
            deviation_without=np.hypot(deviation_alone, self._alone.noise),
        )


def left_out(process: GaussianProcess, values: Array) -> Array:
    """Logarithm of the density of each value, by the process through all the others.

    C. E. Rasmussen, C. K. I. Williams, Gaussian Processes for Machine Learning, equations 5.10 to 5.12.
    """
    inverse = solve_triangular(process.factor, np.eye(len(values)), lower=True)
    variance = 1.0 / np.einsum("ij,ij->j", inverse, inverse)
    apart = process.weights * variance
    return np.asarray(-0.5 * (np.log(2 * np.pi * variance) + apart**2 / variance))


def _log(share: float) -> float:
    return float(np.log(max(share, 1e-300)))
