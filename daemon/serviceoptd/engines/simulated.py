"""The embedded engine: a queueing model in place of a service. Everything that it gives is marked as simulated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from serviceopt_journal.events import Configuration
from serviceoptd.domain.settings import Field
from serviceoptd.engines.external import refuse_searched_service
from serviceoptd.engines.interface import Options, Problem, ServiceOrder, ServicePlan, Workplace
from serviceoptd.engines.simulated_section import SimulatedSection, setting_of
from serviceoptd.simulation.queueing import kv_blocks, refused_launch

MODEL_VERSION = "queueing 1"
"""To be changed with every change of what the model gives, since it is part of the measurement identity."""


class SimulatedEngine:
    """`simulation.queueing`, in process: ready at once, or refused with the reason that a real log would give."""

    name: ClassVar[str] = "simulated"
    section: ClassVar[type[Options]] = SimulatedSection
    defaults: ClassVar[Mapping[str, Any]] = {
        "target_field": [
            {"name": "MAX_NUM_BATCHED_TOKENS", "config_position": "env", "min": 8192, "max": 65536, "dtype": "int",
             "value": 8192},
            {"name": "MAX_NUM_SEQS", "config_position": "env", "min": 32, "max": 512, "dtype": "int", "value": 64},
            {"name": "CONCURRENCY", "config_position": "env", "min": 1, "max": 1000, "dtype": "int", "value": 40},
            {"name": "REQUESTRATE", "config_position": "env", "min": 0, "max": 0, "dtype": "float", "value": 0},
        ],
    }  # fmt: skip

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = SimulatedSection.model_validate(options)
        self.pace = self.options.launch_seconds
        """Seconds that whoever carries out the plan lets a launch take."""

    def plan(self, order: ServiceOrder) -> ServicePlan:
        """No process; `failure` where the model says that the service would not start."""
        if not order.managed:
            refuse_searched_service(order.fields, self.name)
        machine, _ = self.options.model()
        setting = setting_of(order.configuration)
        failure = refused_launch(machine, setting)
        return ServicePlan(
            command=None,
            ready=None,
            simulated=True,
            failure=failure,
            kv_blocks=None if failure else kv_blocks(machine, setting),
        )

    def problems(self, workplace: Workplace, managed: bool = True) -> list[Problem]:
        """None: it needs nothing."""
        return []

    def identity(self, workplace: Workplace) -> dict[str, str]:
        """The model and its numbers."""
        numbers = self.options.model_dump(mode="json", exclude={"launch_seconds", "measurement_seconds"})
        return {"version": MODEL_VERSION, "numbers": str(numbers)}

    def kv_blocks(self, report: str) -> int | None:
        """None: the plan tells them."""
        return None

    def devices(self, configuration: Configuration, fields: Sequence[Field] = ()) -> int:
        """The tensor parallel size."""
        return setting_of(configuration).tensor_parallel_size
