"""The embedded client: what a benchmark of the simulated engine would report. Everything is marked as simulated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from serviceopt_journal.metrics import Metrics
from serviceoptd.benchmarks.interface import ClientOutcome, MeasurementOrder, MeasurementPlan, UnusableResult
from serviceoptd.engines.interface import Options, Problem, Workplace
from serviceoptd.engines.simulated_section import SimulatedSection, setting_of
from serviceoptd.simulation.queueing import Load, refused_launch
from serviceoptd.simulation.sampling import sampled_metrics


class SimulatedBenchmark:
    """`simulation.sampling`, in process, with noise keyed by run seed, particle and measurement."""

    name: ClassVar[str] = "simulated"
    section: ClassVar[type[Options]] = SimulatedSection
    defaults: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = SimulatedSection.model_validate(options)
        self.pace = self.options.measurement_seconds
        """Seconds that whoever carries out the plan lets a measurement take."""

    def plan(self, order: MeasurementOrder) -> MeasurementPlan:
        """The outcome itself: metrics, or a failure when no request would have completed."""
        machine, workload = self.options.model()
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

    def read(self, outcome: ClientOutcome) -> Metrics:
        """The plan's own outcome."""
        if outcome.plan.simulated is None:
            raise UnusableResult(outcome.plan.failure or "the simulated client gave no result")
        return outcome.plan.simulated

    def problems(self, workplace: Workplace) -> list[Problem]:
        """None: it needs nothing."""
        return []

    def identity(self, workplace: Workplace) -> dict[str, str]:
        """The requests; the model's numbers are the engine's."""
        return {
            "num_prompts": str(self.options.num_prompts),
            "input_tokens": str(self.options.input_tokens),
            "output_tokens": str(self.options.output_tokens),
            "noise": str(self.options.noise).lower(),
        }
