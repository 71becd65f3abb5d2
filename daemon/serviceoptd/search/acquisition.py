"""What an evaluation of a configuration that was not measured promises. Larger is better, in logarithms.

Expected improvement over the best that keeps every objective, times the probability of keeping them (J. R. Gardner et
al., ICML 2014), in logarithms so that it has a slope everywhere (S. Ament et al., Unexpected Improvements to Expected
Improvement for Bayesian Optimization, NeurIPS 2023).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, log_ndtr

from serviceoptd.search.prediction import TIMES_AS_FAR, WRONG, Forecast

Array = NDArray[np.float64]

CAUTION = 2.0
"""Power of the probability of keeping every objective: beyond a limit the models see large gains, and are often wrong."""
WORTHWHILE = 0.01
"""Logarithm of the gain from which on an improvement counts: crumbs are not worth ten minutes each."""
MEASURED_TOO_HIGH = 0.02  # a client may tell a little more than what was asked of it
LEAST_GAIN = 1e-9
LIKELY = np.log(0.5)
"""From this probability on a measured configuration counts as keeping its objectives."""


def incumbent(measured: Forecast) -> float | None:
    """The best expected objective (logarithm) of measured configurations that are likely to keep every objective."""
    kept = measured.log_kept >= LIKELY
    return float(measured.objective[kept].max()) if kept.any() else None


def log_expected_improvement(predicted: Forecast, best: float | None) -> Array:
    """The logarithm of the expected improvement over `best`, weighed by the probability of keeping every objective.

    While nothing keeps them: what is likely to keep them, and of that rather what is fast.
    """
    if best is None:
        return predicted.log_kept + 0.2 * predicted.objective
    apart, deviation = predicted.objective - best - WORTHWHILE, predicted.objective_deviation
    right = np.log(1 - WRONG) + np.log(deviation) + _log_improvement(apart / deviation)
    far = deviation * TIMES_AS_FAR
    wrong = np.log(WRONG) + np.log(far) + _log_improvement(apart / far)
    possible = np.log(np.maximum(predicted.ceiling + MEASURED_TOO_HIGH - best, LEAST_GAIN))
    return np.asarray(np.minimum(np.logaddexp(right, wrong), possible) + CAUTION * predicted.log_kept)


def _log_improvement(z: Array) -> Array:
    """log(phi(z) + z Phi(z)), without loss of digits for very negative z (Ament et al., equation 9)."""
    log_density = -0.5 * z**2 - 0.5 * np.log(2 * np.pi)
    near = z > -1.0
    direct = np.log(np.exp(log_density) + z * np.exp(log_ndtr(z)), where=near, out=np.zeros_like(z))
    ratio = np.sqrt(np.pi / 2) * erfcx(-np.minimum(z, -1.0) / np.sqrt(2))
    tail = log_density + np.log(np.maximum(1.0 + np.minimum(z, -1.0) * ratio, 1e-300))
    far = log_density - 2 * np.log(np.maximum(np.abs(z), 1.0))
    return np.asarray(np.where(near, direct, np.where(z > -1e4, tail, far)))
