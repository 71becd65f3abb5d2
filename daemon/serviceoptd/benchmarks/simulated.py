"""The embedded client: what a benchmark of the simulated engine would report. Everything is marked as simulated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.metrics import Metrics
from serviceoptd.benchmarks.interface import ClientOutcome, MeasurementOrder, MeasurementPlan
from serviceoptd.predicting.section import SimulatedSection, setting_of
from serviceoptd.simulation.demonstration.client import sampled_metrics
from serviceoptd.simulation.demonstration.engine import Load, refused_launch
from serviceoptd.simulation.virtual_clock.timeline import Stuck
from serviceoptd.toolkit.interface import Options, Problem, UnusableResult, Workplace


class SimulatedBenchmark:
    """A client that computes its result in process.

    Noise is keyed by run seed, particle and measurement, never by attempt.
    """

    name: ClassVar[str] = "simulated"
    section: ClassVar[type[Options]] = SimulatedSection
    defaults: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = SimulatedSection.model_validate(options)
        self.pace = self.options.measurement_seconds
        """Seconds that whoever carries out the plan lets a measurement take."""

    def plan(self, order: MeasurementOrder) -> MeasurementPlan:
        """The outcome itself: metrics, or a failure when no request would have completed."""
        if self.options.model is not None:
            return self._on_the_timeline(order)
        machine, workload = self.options.machine_and_workload()
        if order.sample is not None:
            workload = replace(workload, num_prompts=order.sample)
        setting = setting_of(order.configuration)
        if refused := refused_launch(machine, setting):
            return MeasurementPlan(command=None, num_prompts=workload.num_prompts, failure=refused)
        metrics = sampled_metrics(
            machine,
            setting,
            workload,
            Load(concurrency=order.concurrency, request_rate=order.request_rate),
            order.objective.slos,
            order.noise_key if self.options.noise else None,
        )
        if metrics.completed == 0:
            failure = f"none of {workload.num_prompts} requests completed within {machine.request_timeout_s:g} s"
            return MeasurementPlan(command=None, num_prompts=workload.num_prompts, failure=failure)
        return MeasurementPlan(command=None, num_prompts=workload.num_prompts, simulated=metrics)

    def _on_the_timeline(self, order: MeasurementOrder) -> MeasurementPlan:
        from serviceoptd.predicting.prediction import Predictor

        num_prompts = order.sample or self.options.num_prompts
        try:
            predictor = Predictor.of(self.options, order.workplace.working_directory)
            predicted = predictor.predict(
                predictor.limits(order.configuration, order.fields),
                concurrency=order.concurrency,
                request_rate=order.request_rate,
                num_prompts=num_prompts,
                slos=order.objective.slos,
                # arrivals and lengths change with the measurement and not with the configuration, as the client's do
                seed=order.noise_key[2] if self.options.noise else 0,
            )
        except (InvalidConfiguration, Stuck) as refused:
            return MeasurementPlan(command=None, num_prompts=num_prompts, failure=refused.message)
        if predicted.metrics.completed == 0:
            failure = f"none of {num_prompts} requests was accepted: they are longer than the service's limit"
            return MeasurementPlan(command=None, num_prompts=num_prompts, failure=failure)
        return MeasurementPlan(
            command=None, num_prompts=num_prompts, simulated=predicted.metrics, remark=predicted.remark
        )

    def read(self, outcome: ClientOutcome) -> Metrics:
        """The plan's own outcome."""
        if outcome.plan.simulated is None:
            raise UnusableResult(outcome.plan.failure or "the simulated client gave no result")
        return outcome.plan.simulated

    def problems(self, workplace: Workplace) -> list[Problem]:
        """Finds none: the engine names those of the table that they share."""
        return []

    def identity(self, workplace: Workplace) -> dict[str, str]:
        """The requests; the model's numbers are the engine's."""
        return {
            "num_prompts": str(self.options.num_prompts),
            "input_tokens": str(self.options.input_tokens),
            "output_tokens": str(self.options.output_tokens),
            "noise": str(self.options.noise).lower(),
        }
