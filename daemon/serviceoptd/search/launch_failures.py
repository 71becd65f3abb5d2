"""How likely a service is to start with a configuration, from what has started and what has not.

Least-squares classification by Gaussian processes (C. E. Rasmussen, C. K. I. Williams, Gaussian Processes for Machine
Learning, section 6.5), one for each kind of failure: running out of memory has nothing to do with a refused option. One
more stands for the kinds that were not seen yet: near what has started it is confident, elsewhere less so.

What failed of its surroundings (a taken port, a missing model, a device in use) would have failed with any configuration: it
is left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from serviceoptd.domain.failures import OF_THE_SURROUNDINGS
from serviceoptd.search.encoding import Encoding
from serviceoptd.search.gaussian_process import GaussianProcess
from serviceoptd.search.prediction import Point

Array = NDArray[np.float64]

KINDS_OF_FAILURE = 4
"""More are taken for one."""
USUAL = 0.6
"""Prior mean, where 1 is success and -1 failure: three launches in four succeed."""
UNSEEN = 0.5
LABEL_NOISE = 0.3


class LaunchFailures:
    """The models of one run; knows nothing and expects success where nothing has been tried."""

    def __init__(self, encoding: Encoding, points: Sequence[Point]) -> None:
        self._encoding = encoding
        failed: dict[str, list[Point]] = {}
        for point in points:
            if point.metrics is None and point.failure and point.cause not in OF_THE_SURROUNDINGS:
                failed.setdefault(point.cause or _words(point.failure), []).append(point)
        if len(failed) > KINDS_OF_FAILURE:
            failed = {"": [point for kind in failed.values() for point in kind]}
        started = [point for point in points if point.metrics is not None]
        self._kinds = [self._fitted(started, kind) for kind in failed.values()]
        self._unseen = self._fitted(started, []) if started else None

    def log_success(self, positions: Array) -> Array:
        """Logarithm of the probability that none of the failures happens, at canonical positions (m, d)."""
        features = self._encoding.features(positions)
        success = np.zeros(len(features))
        for model in self._kinds:
            mean, deviation = model.predict(features)
            success = success + log_ndtr((mean + USUAL) / np.hypot(deviation, LABEL_NOISE))
        if self._unseen is not None:
            mean, deviation = self._unseen.predict(features)
            success = success + log_ndtr((mean + UNSEEN) / np.hypot(deviation, LABEL_NOISE))
        return success

    def _fitted(self, started: list[Point], failed: list[Point]) -> GaussianProcess:
        known = [*started, *failed]
        features = self._encoding.features(self._encoding.canonical(np.array([point.position for point in known])))
        prior = USUAL if failed else UNSEEN
        labels = np.array([1.0] * len(started) + [-1.0] * len(failed))
        return GaussianProcess.fit(features, labels - prior, noise=0.2, size=0.7, constant=0.3)


def _words(failure: str) -> str:
    """The failure without the numbers in it."""
    return re.sub(r"[^a-z]+", " ", failure.casefold())[:40]
