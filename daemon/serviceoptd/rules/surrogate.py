"""The rule `surrogate`: what the measurements of the run say is not worth one more of them.

The models of the search (`search/surrogate.py`) give the probability that a configuration starts, keeps every objective
and beats the best expectation so far (constrained improvement: J. R. Gardner et al., *Bayesian Optimization with
Inequality Constraints*, ICML 2014). Below `threshold` it is given up. For strategies without models of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar

import msgspec
import numpy as np
from scipy.special import log_ndtr

from serviceopt_journal.events import Configuration
from serviceoptd.domain.settings import Field, Objective
from serviceoptd.domain.space.space import Space
from serviceoptd.rules.interface import Facts, Kind, Rejection, Result
from serviceoptd.rules.threshold import improbable, threshold
from serviceoptd.search.acquisition import incumbent
from serviceoptd.search.encoding import Encoding
from serviceoptd.search.gaussian_process import on_one_thread
from serviceoptd.search.prediction import Point
from serviceoptd.search.surrogate import Surrogate

LEAST = 10
EACH_DIMENSION = 3
"""Results that must be there before it judges: ten, and three for each dimension of the space."""

MOST_POINTS = 400
"""Results that the models are fitted to at most; the time grows with the cube of their number."""


class SurrogateRule:
    """`threshold` in `[search.options.surrogate]`: the probability below which a configuration is given up, 0.01."""

    name: ClassVar[str] = "surrogate"
    kind: ClassVar[Kind] = "measured"

    @on_one_thread  # type: ignore[untyped-decorator]
    def judge(self, configuration: Configuration, facts: Facts) -> Rejection | None:
        """None while too little has been measured.

        Raises:
            InvalidConfiguration: the threshold is not a probability.
        """
        least = threshold(facts.options(self.name), self.name)
        space, objective = facts.space, facts.settings.objective
        measured = sum(result.objective is not None and result.objective > 0 for result in facts.results)
        if measured < max(LEAST, EACH_DIMENSION * len(space.dimensions)):
            return None
        points = [
            Point(space.encode(result.configuration), result.metrics, result.objective, result.error, result.cause)
            for result in most_telling(facts.results)
        ]
        encoding, surrogate, best = _fitted(msgspec.msgpack.encode((space.fields, objective, points)))
        position = encoding.canonical(np.array([space.encode(configuration)]))
        predicted = surrogate.predict(position)
        log_better = float(predicted.log_kept[0])
        if best is not None:
            log_better += float(log_ndtr((predicted.objective[0] - best) / predicted.objective_deviation[0]))
        reason = improbable(log_better, least, better=best is not None, by=f"{len(points)} results")
        return None if reason is None else Rejection(reason, surrogate.expectation(position[0], best).metrics)


def most_telling(results: Sequence[Result]) -> list[Result]:
    """All results; of many, the latest and the best of those before. So the models take no longer and longer to fit."""
    if len(results) <= MOST_POINTS:
        return list(results)
    before = range(len(results) - MOST_POINTS // 2)
    best = sorted(before, key=lambda index: results[index].fitness)[: MOST_POINTS // 2]
    return [*(results[index] for index in sorted(best)), *results[len(before) :]]


@lru_cache(maxsize=1)
def _fitted(told: bytes) -> tuple[Encoding, Surrogate, float | None]:
    """The models of these fields, objective and points, and the best that is expected of these points.

    Kept, since many proposals are judged by the same results.
    """
    fields, objective, points = msgspec.msgpack.decode(told, type=tuple[tuple[Field, ...], Objective, list[Point]])
    encoding = Encoding.of(Space.of(fields))
    surrogate = Surrogate(encoding, objective, points)
    return encoding, surrogate, incumbent(surrogate.predict(surrogate.positions))
