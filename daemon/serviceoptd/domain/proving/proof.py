"""What confirmations prove: which finalist is the best, how fast it is, and whether it keeps the SLOs.

Everything here rests on confirmations alone. The measurement that made a configuration a finalist is left out: among
many it was the luckiest, so its value is too high on average (the winner's curse; E. Capen, R. Clapp, W. Campbell,
*Competitive Bidding in High-Risk Situations*, Journal of Petroleum Technology 23(6), 1971).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from serviceopt_journal.metric_table import E2EL, METRIC, SUCCESS_RATE, TPOT, TTFT, in_words
from serviceopt_journal.metrics import Metrics, Tail
from serviceopt_journal.proof import Interval, Proof, SloProof
from serviceoptd.domain.objective import aggregate, judge, rank, statistic
from serviceoptd.domain.settings import Objective, Slo
from serviceoptd.domain.statistics.confidence import Mean, Noise, interval, pooled, probability_below, t_probability
from serviceoptd.domain.statistics.order_statistics import deviation, needed, probability_within, tail_name

ASSUMED_SPEED, ASSUMED_TAIL = 0.03, 0.14
ASSUMED_MEAN = {TTFT: 0.06, TPOT: 0.03, E2EL: 0.03}
"""Noise (standard deviation of the logarithm) before it has been measured: the medians of repeated runs of real engines."""
SMALLEST = 1e-9
"""Stands for a measured 0, which has no logarithm."""


@dataclass(frozen=True)
class Finalist:
    """A configuration that was measured again, by its particle."""

    particle: int
    confirmations: tuple[Metrics, ...]  # at least one, each with every statistic that the objective needs
    devices: int = 1


class Race:
    """The finalists and how they compare. Pure: it follows from the measurements.

    The noise is pooled over the finalists. Where little has been measured, decisions (who is out, what is declared
    feasible) also lean on an assumed noise; the intervals never do.
    """

    def __init__(self, finalists: Sequence[Finalist], objective: Objective, confidence: float) -> None:
        self.finalists = finalists
        self.objective = objective
        self.confidence = confidence
        self._logs = {f.particle: _logs(_values(f, objective)) for f in finalists}
        self._noise = pooled(self._logs.values(), assumed=ASSUMED_SPEED)
        self._slo_logs = [{f.particle: _logs(_latencies(f, slo)) for f in finalists} for slo in objective.slos]
        self._slo_noise = [
            pooled(logs.values(), assumed=_assumed(slo, finalists))
            for slo, logs in zip(objective.slos, self._slo_logs, strict=True)
        ]

    def mean(self, finalist: Finalist) -> Mean:
        """The mean of the logarithm of what is maximised."""
        return Mean.of(self._logs[finalist.particle])

    def probabilities(self, finalist: Finalist) -> list[float]:
        """The probabilities that a finalist truly keeps each SLO, in their order.

        Of a percentile whose single requests are known it is the smaller of two: by how the measurements differ from
        each other, and by how many requests of all of them were above the limit.
        """
        found = []
        for slo, logs, noise in zip(self.objective.slos, self._slo_logs, self._slo_noise, strict=True):
            between = probability_below(Mean.of(logs[finalist.particle]), math.log(slo.limit), noise)
            tails = _tails(finalist, slo)
            found.append(min(between, probability_within(tails, slo)) if tails else between)
        return found

    def risk(self, finalist: Finalist) -> float:
        """A bound of the probability that it breaks any: the sum over the SLOs (Bonferroni).

        The success rate is no matter of noise but of the requests that were sent: it holds over all of them, or not.
        """
        if _success_rate(finalist) < self.objective.success_rate:
            return 1.0
        return min(1.0, sum(1 - probability for probability in self.probabilities(finalist)))

    def safe(self, finalist: Finalist) -> bool:
        """Whether the finalist is declared feasible.

        The error is shared among the finalists: one of several passes more easily.
        """
        return self.risk(finalist) <= self._error

    @property
    def _error(self) -> float:
        """That a finalist may be declared feasible wrongly."""
        return (1 - self.confidence) / len(self.finalists)

    def behind(self, finalist: Finalist, leader: Finalist) -> bool:
        """Whether the finalist is slower than the leader, by a one-sided test that shares its error among all rivals."""
        error = self._error_of_difference(finalist, leader, self._noise)
        difference = self.mean(leader).value - self.mean(finalist).value
        if error == 0:
            return difference > 0
        level = (1 - self.confidence) / max(len(self.finalists) - 1, 1)
        return t_probability(difference / error, self._noise.freedom) > 1 - level

    def ahead(self, finalists: Sequence[Finalist]) -> Finalist:
        """The fastest of them, the earlier one of equals.

        Raises:
            ValueError: there is none.
        """
        return max(finalists, key=lambda finalist: self.mean(finalist).value)

    @cached_property
    def winner(self) -> Finalist:
        """The fastest of those that are declared feasible; where there is none, the closest by the hard rule.

        Raises:
            ValueError: there is no finalist.
        """
        if safe := [finalist for finalist in self.finalists if self.safe(finalist)]:
            return self.ahead(safe)
        judged = [judge(aggregate(f.confirmations), self.objective, f.devices) for f in self.finalists]
        return self.finalists[rank(judged)[0]]

    def proof(self, current: int | None) -> Proof:
        """What is recommended and how sure that is; `current` is the particle with the current setting.

        Raises:
            ValueError: there is no finalist.
        """
        winner = self.winner
        mean, measured = self.mean(winner), pooled(self._logs.values())
        before = next((f for f in self.finalists if f.particle == current and f is not winner), None)
        gain = mean.value - self.mean(before).value if before else None
        rivals = [f for f in self.finalists if f is not winner and self.safe(f)]
        return Proof(
            confidence=self.confidence,
            estimate=math.exp(mean.value),
            interval=interval(mean.value, mean.error(measured), measured, self.confidence, best_of=len(self.finalists)),
            noise=measured.deviation if measured.freedom else None,
            slos=tuple(
                SloProof(
                    slo=_words(slo),
                    limit=slo.limit,
                    estimate=math.exp(fmean(logs[winner.particle])),
                    probability=p,
                    requests=sum(tail.requests for tail in _tails(winner, slo)) or None,
                    above=sum(tail.above for tail in _tails(winner, slo)),
                )
                for slo, logs, p in zip(self.objective.slos, self._slo_logs, self.probabilities(winner), strict=True)
            ),
            success_rate=_success_rate(winner),
            gain=math.expm1(gain) if gain is not None else None,
            gain_interval=self._gain_interval(winner, before, measured) if before else None,
            measurements=len(winner.confirmations),
            total=sum(len(finalist.confirmations) for finalist in self.finalists),
            finalists=tuple(finalist.particle for finalist in self.finalists),
            told_apart=self.safe(winner) and all(self.behind(rival, winner) for rival in rivals),
            unsure=tuple(f.particle for f in self.finalists if not self.safe(f) and self.mean(f).value > mean.value),
            binding="" if self.safe(winner) else self._binding(winner),
        )

    def _gain_interval(self, winner: Finalist, before: Finalist, noise: Noise) -> Interval | None:
        difference = self.mean(winner).value - self.mean(before).value
        ends = interval(difference, self._error_of_difference(winner, before, noise), noise, self.confidence)
        return (ends[0] - 1, ends[1] - 1) if ends else None

    def _error_of_difference(self, one: Finalist, other: Finalist, noise: Noise) -> float:
        return math.hypot(self.mean(one).error(noise), self.mean(other).error(noise))

    def _binding(self, finalist: Finalist) -> str:
        if _success_rate(finalist) < self.objective.success_rate:
            return f"{METRIC[SUCCESS_RATE].label} >= {self.objective.success_rate:g}"
        probabilities = self.probabilities(finalist)
        slo = self.objective.slos[probabilities.index(min(probabilities))]
        tails = _tails(finalist, slo)
        requests, least = sum(tail.requests for tail in tails), needed(slo, self._error) if tails else 0
        if requests < least:
            return f"{_words(slo)}, which {requests} requests are too few to show: at least {least} are needed"
        return _words(slo)


def _values(finalist: Finalist, objective: Objective) -> list[float]:
    judged = [judge(metrics, objective, finalist.devices).objective for metrics in finalist.confirmations]
    return [value or 0.0 for value in judged]


def _latencies(finalist: Finalist, slo: Slo) -> list[float]:
    return [statistic(metrics, slo) or 0.0 for metrics in finalist.confirmations]


def _logs(values: Sequence[float]) -> list[float]:
    return [math.log(max(value, SMALLEST)) for value in values]


def _success_rate(finalist: Finalist) -> float:
    """Of all its requests; where a client does not count them, the mean of the rates."""
    completed = sum(metrics.completed for metrics in finalist.confirmations)
    sent = completed + sum(metrics.failed for metrics in finalist.confirmations)
    return completed / sent if sent else fmean(metrics.success_rate for metrics in finalist.confirmations)


def assumed_noise(slo: Slo) -> float:
    """A percentile varies more than a mean."""
    return ASSUMED_MEAN[slo.metric] if slo.statistic == "mean" else ASSUMED_TAIL


def _assumed(slo: Slo, finalists: Sequence[Finalist]) -> float:
    """As above; what comes of the number of requests is computed where single requests are known, not assumed."""
    within = [deviation(tail) for finalist in finalists for tail in _tails(finalist, slo)]
    known = [value for value in within if value is not None]
    if not known or len(known) < len(within):
        return assumed_noise(slo)
    return math.hypot(ASSUMED_MEAN[slo.metric], math.sqrt(fmean(value**2 for value in known)))


def _tails(finalist: Finalist, slo: Slo) -> list[Tail]:
    """Of all its confirmations; empty where one lacks it, or counted against another limit."""
    found = [metrics.tails.get(tail_name(slo)) for metrics in finalist.confirmations]
    known = [tail for tail in found if tail is not None and tail.limit == slo.limit]
    return known if len(known) == len(found) else []


def _words(slo: Slo) -> str:
    return f"{in_words(slo.statistic, slo.metric)} <= {slo.limit:g} s"
