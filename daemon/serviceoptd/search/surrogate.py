"""What the measurements of a run say about configurations that were not measured.

Modelled apart, each in the logarithm: the objective, and each latency that has an SLO (the
constrained expected improvement of J. R. Gardner et al., Bayesian Optimization with Inequality Constraints, ICML 2014;
applied to LLM serving by SCOOT, WWW 2025). Their prior mean is a fitted queueing model; what is left of them is a
Gaussian process. Failed launches have a model of their own for each kind of failure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from serviceopt_journal.metric_table import E2EL, GENERATE_SPEED, GOODPUT, LIMITS, TPOT, TTFT, LatencyName
from serviceopt_journal.metrics import NOT_TOLD, Latency, Metrics, latency_fields
from serviceoptd.domain.objective import statistic
from serviceoptd.domain.settings import Objective, Slo
from serviceoptd.search import queueing_prior
from serviceoptd.search.acquisition import log_expected_improvement
from serviceoptd.search.encoding import CONCURRENCY, RATE, SEQUENCES, Encoding
from serviceoptd.search.gaussian_process import GaussianProcess, Hyperparameters
from serviceoptd.search.interface import Prediction as Expectation
from serviceoptd.search.launch_failures import LaunchFailures
from serviceoptd.search.prediction import TIMES_AS_FAR, WRONG, Forecast, Point

Array = NDArray[np.float64]

NOISE = {"objective": 0.03, TTFT: 0.07, TPOT: 0.035, E2EL: 0.04}
"""Relative noise of one measurement, assumed beforehand and then fitted: a little above the medians of repeated runs of
real vLLM (2.5 % throughput, 6 % TTFT, 2.6 % TPOT); that of the end-to-end latency is a guess between them."""
UNEXPLAINED = {"objective": 0.25, TTFT: 0.6, TPOT: 0.2, E2EL: 0.3}
"""How far the logarithm is from the queueing model, known beforehand."""
WITHOUT_QUEUEING = 1.0
LEAST_SPEED = 1e-3  # tokens/s
FAR_ABOVE = 1.0
"""Logarithms of latencies this far above their limit are compressed: how far does not matter there."""


@dataclass(frozen=True)
class Learnt:
    """What is expensive to learn and hardly changes with one more point: coefficients and hyperparameters."""

    queueing: queueing_prior.Fitted | None
    hyperparameters: dict[str, Hyperparameters]


class Surrogate:
    """The models of one run. Needs at least one point that was measured.

    `learnt` from fewer points saves most of the time: then the new points are only taken into account.
    """

    def __init__(
        self, encoding: Encoding, objective: Objective, points: Sequence[Point], learnt: Learnt | None = None
    ) -> None:
        self._encoding = encoding
        self._target = objective
        self._slos = objective.slos
        measured = [p for p in points if p.metrics is not None and (p.objective or 0) > 0]
        self.positions = encoding.canonical(np.array([p.position for p in measured]))
        metrics = [p.metrics for p in measured if p.metrics is not None]
        values = np.log([p.objective or 1.0 for p in measured])
        self._hyperparameters = dict(learnt.hyperparameters) if learnt else {}
        self._queueing = learnt.queueing if learnt else None
        self._tokens = float(np.median([m.generate_speed / m.throughput for m in metrics if m.throughput > 0] or [1.0]))
        if learnt is None:
            self._learn_queueing(metrics)
        seen = self._features(self.positions)
        prior = self._prior(self.positions)
        self._offset = float(np.median(values - prior[0]))
        self._objective = self._fitted(seen, values - prior[0] - self._offset, "objective")
        speeds, there = np.log([max(m.generate_speed, LEAST_SPEED) for m in metrics]), self._steady(self.positions)
        self._speed = float(np.median(speeds if there is None else speeds - there.throughput))
        self._latencies: list[tuple[GaussianProcess, float]] = []
        for row, slo in enumerate(self._slos, start=1):
            apart = _compressed(np.log([_positive(m, slo) for m in metrics]), np.log(slo.limit))
            expected = _compressed(prior[row], np.log(slo.limit))
            offset = float(np.median(apart - expected))
            self._latencies.append((self._fitted(seen, apart - expected - offset, slo.metric, row), offset))
        self._success = self._success_model(seen, metrics, objective.success_rate)
        self._launches = LaunchFailures(encoding, points)

    @property
    def learnt(self) -> Learnt:
        """The hyperparameters to begin with for the models of the same run and one more point."""
        return Learnt(self._queueing, self._hyperparameters)

    def predict(self, positions: Array) -> Forecast:
        """What to expect at canonical positions (m, d)."""
        seen, prior, unsure = self._features(positions), self._prior(positions), self._prior_variance(positions)
        mean, deviation = self._objective.predict(seen)
        kept = self._launches.log_success(positions)
        means = []
        for row, (slo, (process, offset)) in enumerate(zip(self._slos, self._latencies, strict=True), start=1):
            limit = np.log(slo.limit)
            apart, spread = process.predict(seen)
            spread = np.sqrt(spread**2 + unsure[row])
            expected = apart + _compressed(prior[row], limit) + offset
            kept = kept + _log_probability((limit - expected) / spread)
            means.append(expected)
        if self._success is not None:
            apart, spread = self._success.predict(seen)
            kept = kept + log_ndtr((apart + 1.0) / np.hypot(spread, 0.3))
        return Forecast(
            objective=mean + prior[0] + self._offset,
            objective_deviation=np.sqrt(deviation**2 + unsure[0]),
            ceiling=self._ceiling(positions),
            latencies=np.stack(means) if means else np.empty((0, len(positions))),
            log_kept=kept,
        )

    def log_speed(self, positions: Array) -> Array:
        """Logarithm of the output tokens/s to expect at canonical positions (m, d), by the queueing model alone."""
        steady = self._steady(positions)
        return np.full(len(positions), self._speed) if steady is None else steady.throughput + self._speed

    def expectation(self, position: Array, best: float | None) -> Expectation:
        """What to say of one canonical position (d): for people and the journal. `best`: the incumbent's logarithm."""
        predicted = self.predict(position[None, :])
        latencies: dict[LatencyName, Latency] = {name: {} for name in LIMITS}
        for slo, value in zip(self._slos, predicted.latencies[:, 0], strict=True):
            latencies[slo.metric][slo.statistic] = float(np.exp(value))
        kept = float(np.exp(predicted.log_kept[0]))
        gain = None
        if best is not None:
            gain = float(np.exp(log_expected_improvement(predicted, best)[0]))
        return Expectation(self._metrics(float(np.exp(predicted.objective[0])), latencies), kept, gain)

    def _metrics(self, objective: float, latencies: dict[LatencyName, Latency]) -> Metrics | None:
        """As the result of a measurement, where the objective is one of its numbers."""
        if self._target.per_device or self._target.maximise == GOODPUT:
            return None
        speed = objective if self._target.maximise == GENERATE_SPEED else objective * self._tokens
        return Metrics(
            generate_speed=speed,
            throughput=speed / self._tokens,
            success_rate=NOT_TOLD,
            completed=0,
            failed=0,
            duration=0.0,
            **latency_fields(latencies),
        )

    def _ceiling(self, positions: Array) -> Array:
        rate = self._encoding.amount(RATE, positions)
        if rate is None or self._target.per_device:
            return np.full(len(positions), np.inf)
        return np.log(rate * (self._tokens if self._target.maximise == GENERATE_SPEED else 1.0))

    def _learn_queueing(self, metrics: Sequence[Metrics]) -> None:
        usable = [
            i for i, m in enumerate(metrics) if m.ttft.get("mean") and m.tpot.get("mean") and m.generate_speed > 0
        ]
        demand = self._demand(self.positions[usable]) if usable else None
        if demand is None:
            return
        told = [metrics[i] for i in usable]
        self._queueing = queueing_prior.fit(
            demand,
            np.log([m.generate_speed for m in told]),
            np.log([m.tpot["mean"] for m in told]),
            np.log([m.ttft["mean"] for m in told]),
        )

    def _demand(self, positions: Array) -> queueing_prior.Demand | None:
        sequences = self._encoding.amount(SEQUENCES, positions)
        concurrency = self._encoding.amount(CONCURRENCY, positions)
        rate = self._encoding.amount(RATE, positions)
        if sequences is None and concurrency is None:
            return None
        unlimited = np.full(len(positions), np.inf)
        features = self._encoding.features(positions)
        return queueing_prior.Demand(
            sequences=unlimited if sequences is None else sequences,
            concurrency=unlimited if concurrency is None else concurrency,
            tokens=(unlimited if rate is None else rate) * self._tokens,
            tokens_of_request=self._tokens,
            parameters=features[:, self._encoding.is_service_feature],
        )

    def _steady(self, positions: Array) -> queueing_prior.Steady | None:
        demand = self._demand(positions)
        if self._queueing is None or demand is None:
            return None
        return queueing_prior.steady(self._queueing.coefficients, demand)

    def _prior(self, positions: Array) -> Array:
        """Prior means of the objective and of each SLO's latency, as logarithms up to a constant; (1 + SLOs, m)."""
        steady = self._steady(positions)
        return np.zeros((1 + len(self._slos), len(positions))) if steady is None else self._logarithms(steady)

    def _logarithms(self, steady: queueing_prior.Steady) -> Array:
        whole = np.logaddexp(steady.ttft, np.log(self._tokens) + steady.tpot)
        by_metric = {TTFT: steady.ttft, TPOT: steady.tpot, E2EL: whole}
        return np.stack([steady.throughput, *(by_metric[slo.metric] for slo in self._slos)])

    def _prior_variance(self, positions: Array) -> Array:
        demand = self._demand(positions)
        if self._queueing is None or demand is None:
            return np.zeros((1 + len(self._slos), len(positions)))
        return self._queueing.variance(demand, self._logarithms)

    def _features(self, positions: Array) -> Array:
        features = self._encoding.features(positions)
        steady = self._steady(positions)
        if steady is None:
            return features
        utilisation = np.clip(0.5 + steady.utilisation / 6, 0.0, 1.0)
        running = np.clip(steady.running / 7, 0.0, 1.2)
        return np.column_stack([features, utilisation, running])

    def _fitted(self, seen: Array, values: Array, kind: str, row: int = 0) -> GaussianProcess:
        size, name = UNEXPLAINED[kind] if self._queueing is not None else WITHOUT_QUEUEING, f"{kind} {row}"
        if name in self._hyperparameters:
            return GaussianProcess.conditioned(seen, values, self._hyperparameters[name], size)
        process = GaussianProcess.fit(seen, values, noise=NOISE[kind], size=size, constant=size)
        self._hyperparameters[name] = process.hyperparameters
        return process

    def _success_model(self, seen: Array, metrics: Sequence[Metrics], required: float) -> GaussianProcess | None:
        missed = np.array([m.success_rate < required for m in metrics])
        if not missed.any():
            return None
        return GaussianProcess.fit(seen, np.where(missed, -2.0, 0.0), noise=0.2, size=1.0, constant=0.5)


def _log_probability(z: Array) -> Array:
    """Logarithm of the normal distribution function, with the tails of a model that is sometimes wrong."""
    return np.asarray(np.logaddexp(np.log1p(-WRONG) + log_ndtr(z), np.log(WRONG) + log_ndtr(z / TIMES_AS_FAR)))


def _positive(metrics: Metrics, slo: Slo) -> float:
    told = statistic(metrics, slo)
    return told if told is not None and told > 0 else slo.limit


def _compressed(values: Array, limit: float) -> Array:
    above = np.maximum(values - limit - FAR_ABOVE, 0.0)
    return np.where(above > 0, limit + FAR_ABOVE + np.log1p(above), values)
