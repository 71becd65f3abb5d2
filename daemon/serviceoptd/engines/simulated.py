"""The embedded engine: a model in place of a service. Everything that it gives is marked as simulated.

Without a trained latency model it is a demonstration, a queueing model whose numbers are invented; with `model` the
configuration is served on the virtual time line (docs/simulation.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from serviceopt_journal.errors import InvalidConfiguration, ServiceoptError
from serviceopt_journal.events import Configuration
from serviceoptd.domain.load import load_of
from serviceoptd.domain.settings import Field
from serviceoptd.domain.space.space import Space
from serviceoptd.engines.interface import ServiceOrder, ServicePlan, Survey
from serviceoptd.predicting.section import (
    CAME_LATER,
    OF_DATA_SETS_CAME_LATER,
    SimulatedSection,
    setting_of,
    usual_of,
)
from serviceoptd.simulation.demonstration.engine import kv_blocks, refused_launch
from serviceoptd.simulation.schedulers.limits import KV_BLOCKS, MissingLimits
from serviceoptd.simulation.virtual_clock.timeline import Stuck
from serviceoptd.toolkit.interface import Options, Problem, Workplace
from serviceoptd.toolkit.position_checks import refuse_searched_service

MODEL_VERSION = "queueing 1"
TIMELINE_VERSION = "virtual time line 1"
"""To be changed with every change of what they give, since they are part of the measurement identity."""

_OF_THE_TIMELINE = {"model", "scheduler", "limits", "overheads", "range_ratio", "lengths", "burstiness", *CAME_LATER}


class SimulatedEngine:
    """An engine in process: ready at once, or refused with the reason that a real log would give."""

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
        if self.options.model is not None:
            return self._on_the_timeline(order)
        machine, _ = self.options.machine_and_workload()
        setting = setting_of(order.configuration)
        failure = refused_launch(machine, setting)
        return ServicePlan(
            command=None,
            ready=None,
            simulated=True,
            failure=failure,
            kv_blocks=None if failure else kv_blocks(machine, setting),
        )

    def _on_the_timeline(self, order: ServiceOrder) -> ServicePlan:
        from serviceoptd.predicting.prediction import Predictor

        predictor = Predictor.of(self.options, order.workplace.working_directory)
        try:
            limits = predictor.limits(order.configuration, order.fields)
        except MissingLimits:
            raise  # no configuration of this run could be served
        except InvalidConfiguration as refused:
            return ServicePlan(command=None, ready=None, simulated=True, failure=refused.message)
        blocks = getattr(limits, KV_BLOCKS[self.options.scheduler])
        return ServicePlan(command=None, ready=None, simulated=True, kv_blocks=blocks)

    def surveyed(self, fields: Sequence[Field], workplace: Workplace, guidance: Mapping[str, Any]) -> Survey:
        """The fields as they are, and whether the first configuration lies outside of the model's training data."""
        return Survey(tuple(fields), self._outside(fields, workplace) if self.options.model is not None else ())

    def _outside(self, fields: Sequence[Field], workplace: Workplace) -> tuple[Problem, ...]:
        from serviceoptd.predicting.prediction import Predictor

        space = Space.of(tuple(fields))
        configuration = space.current() or space.decode([0.5] * len(space.dimensions))
        concurrency, request_rate = load_of(configuration)
        try:
            predictor = Predictor.of(self.options, workplace.working_directory)
            found = predictor.predict(
                predictor.limits(configuration, fields),
                concurrency=concurrency,
                request_rate=request_rate,
                num_prompts=self.options.num_prompts,
            )
        except (ServiceoptError, Stuck):  # told by `problems`, or by the run itself
            return ()
        hint = "train the model on such batches, or narrow the search to what it was trained on"
        return (Problem(f"{self.name}.model", f"first configuration: {found.remark}", hint),) if found.remark else ()

    def problems(self, workplace: Workplace, managed: bool = True) -> list[Problem]:
        """Files of the model that cannot be used; the demonstration needs nothing."""
        if self.options.model is None:
            return []
        from serviceoptd.predicting.prediction import Predictor

        try:
            Predictor.of(self.options, workplace.working_directory)
        except ServiceoptError as error:
            return [Problem(f"{self.name}.model", error.message, error.hint, configuration=True)]
        return []

    def identity(self, workplace: Workplace) -> dict[str, str]:
        """The model and its numbers."""
        pace = {"launch_seconds", "measurement_seconds"}
        if self.options.model is None:
            numbers = self.options.model_dump(mode="json", exclude=pace | _OF_THE_TIMELINE)
            return {"version": MODEL_VERSION, "numbers": str(numbers)}
        from serviceoptd.predicting.prediction import fingerprint

        unused = usual_of(self.options, CAME_LATER)
        # of files the content counts, and not where they are
        data = self.options.data_set
        places = {"data_set": {"path", "tokenizer", *usual_of(data, OF_DATA_SETS_CAME_LATER)}} if data else {}
        numbers = self.options.model_dump(
            mode="json",
            exclude={**dict.fromkeys(pace | unused | {"machine", "model", "lengths", "chat_template"}, True), **places},
        )
        files = fingerprint(self.options, workplace.working_directory)
        return {"version": TIMELINE_VERSION, "numbers": str(numbers), **files}

    def kv_blocks(self, report: str) -> int | None:
        """Gives None: the plan has them."""
        return None

    def devices(self, configuration: Configuration, fields: Sequence[Field] = ()) -> int:
        """The tensor parallel size."""
        return setting_of(configuration).tensor_parallel_size
