"""What a simulator advises a search that measures for real: it ranks and it rejects, and it certifies nothing. Pure.

Every prediction is corrected by the results of the run so far, and counts as much as it has been right among them
(`correction.py`). Outside of its training data it says something only near what was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serviceopt_journal.events import Configuration
from serviceopt_journal.metric_table import GENERATE_SPEED, GOODPUT, LIMITS, LatencyName
from serviceopt_journal.metrics import NOT_TOLD, Latency, Metrics, latency_fields
from serviceoptd.domain.objective import judge, statistic
from serviceoptd.domain.settings import Objective
from serviceoptd.domain.space.space import Space
from serviceoptd.search.encoding import Encoding
from serviceoptd.search.surrogate import NOISE
from serviceoptd.simulation.advice.correction import Belief, Correction
from serviceoptd.simulation.advice.simulator import Simulated

Array = NDArray[np.float64]

MOST_POINTS = 100
"""The latest so many results correct the simulator, so that no proposal takes a second."""
MOSTLY_BEYOND = 0.1
"""From this share of the engine's time outside of the training data on, a prediction needs a measurement nearby."""
NEARBY = 0.25
"""Distance between two points of the unit cube that are near each other."""


@dataclass(frozen=True)
class Compared:
    """A configuration that was measured, with what the simulator says of it."""

    configuration: Configuration
    measured: Metrics
    simulated: Simulated


@dataclass(frozen=True)
class Outlook:
    """What to expect of m configurations, in logarithms. Without results nothing is corrected, and nothing is known."""

    objective: Belief
    latencies: tuple[tuple[Belief, float], ...]  # of the SLOs, in their order, each with its limit
    known: NDArray[np.bool_]  # false: the simulator says nothing, or nothing that may be believed

    def log_kept(self, least: float = 0.0) -> Array:
        """The logarithm of the probability to keep every latency objective.

        Only those count in which the simulator has a weight of `least` or more.
        """
        kept = [belief.log_below(limit) for belief, limit in self.latencies if belief.weight >= least]
        return np.asarray(np.sum([np.zeros(len(self.known)), *kept], axis=0))

    def log_worthwhile(self, best: float | None, least: float) -> Array:
        """The logarithm of the probability to keep them and to beat the best objective so far.

        The objective counts where there is one and the simulator has this weight in it.
        """
        kept = self.log_kept(least)
        if best is None or self.objective.weight < least:
            return kept
        return kept + self.objective.log_above(float(np.log(best)))


class Advice:
    """The corrected simulator of one run. Needs at least one result, with all that the objective asks for."""

    def __init__(self, space: Space, objective: Objective, compared: Sequence[Compared]) -> None:
        self._objective, self._encoding = objective, Encoding.of(space)
        told = usable(objective, compared)[-MOST_POINTS:]
        self.results = len(told)
        self._features = self._seen([each.configuration for each in told])
        measured = np.array([readings(each.measured, objective) for each in told])
        predicted = np.array([readings(each.simulated.metrics, objective) for each in told])
        names = ["objective", *(slo.metric for slo in objective.slos)]
        self._corrections = [
            Correction(self._features, predicted[:, row], measured[:, row], NOISE[name])
            for row, name in enumerate(names)
        ]
        self._each_token = float(np.median([each.measured.throughput / each.measured.generate_speed for each in told]))

    @property
    def weight(self) -> float:
        """How far the simulator is believed in what is maximised, from 0 to 1."""
        return self._corrections[0].weight

    def outlook(self, configurations: Sequence[Configuration], simulated: Sequence[Simulated]) -> Outlook:
        """What to expect of each configuration, of which the simulator says `simulated`."""
        features, objective = self._seen(configurations), self._objective
        told = [readings(each.metrics, objective) for each in simulated]
        predicted = np.array([each or [0.0] * len(self._corrections) for each in told])
        beliefs = [each.at(features, predicted[:, row]) for row, each in enumerate(self._corrections)]
        limits = [float(np.log(slo.limit)) for slo in objective.slos]
        apart = np.sqrt(((features[:, None, :] - self._features[None, :, :]) ** 2).sum(2)).min(1)
        within = np.array([each.beyond <= MOSTLY_BEYOND for each in simulated])
        return Outlook(
            objective=beliefs[0],
            latencies=tuple(zip(beliefs[1:], limits, strict=True)),
            known=np.array([each is not None for each in told]) & (within | (apart <= NEARBY)),
        )

    def expected(self, outlook: Outlook, index: int) -> Metrics | None:
        """The corrected prediction as the result of a measurement, where the objective is one of its numbers."""
        if self._objective.maximise == GOODPUT:
            return None
        value = float(np.exp(outlook.objective.corrected[index]))
        speed = value if self._objective.maximise == GENERATE_SPEED else value / self._each_token
        latencies: dict[LatencyName, Latency] = {name: {} for name in LIMITS}
        for slo, (belief, _) in zip(self._objective.slos, outlook.latencies, strict=True):
            latencies[slo.metric][slo.statistic] = float(np.exp(belief.corrected[index]))
        return Metrics(
            generate_speed=speed,
            throughput=speed * self._each_token,
            success_rate=NOT_TOLD,
            completed=0,
            failed=0,
            duration=0.0,
            **latency_fields(latencies),
        )

    def _seen(self, configurations: Sequence[Configuration]) -> Array:
        positions = np.array([self._encoding.space.encode(each) for each in configurations])
        return self._encoding.features(self._encoding.canonical(positions))


def usable(objective: Objective, compared: Sequence[Compared]) -> list[Compared]:
    """The comparisons of which both sides have everything that the objective asks for."""
    return [
        each for each in compared if readings(each.simulated.metrics, objective) and readings(each.measured, objective)
    ]


def readings(metrics: Metrics | None, objective: Objective) -> list[float] | None:
    """Logarithms of the objective and of each SLO's latency; None where one of them is not told, or is 0."""
    value = judge(metrics, objective).objective
    if metrics is None or value is None:
        return None
    values = [value, *(statistic(metrics, slo) for slo in objective.slos)]
    logarithms = [float(np.log(each)) for each in values if each is not None and each > 0]
    return logarithms if len(logarithms) == len(values) else None
