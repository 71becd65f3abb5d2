"""The fourth step: what the first particle would start, as the engine and the client give it. Nothing of it exists."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from serviceopt_journal.errors import InvalidConfiguration, ServiceoptError
from serviceopt_journal.events import Configuration
from serviceoptd.benchmarks.interface import MeasurementOrder, MeasurementPlan
from serviceoptd.config.plugins import blaming
from serviceoptd.domain.load import load_of
from serviceoptd.engines.interface import ServiceOrder, ServicePlan
from serviceoptd.submitting.draft import Draft
from serviceoptd.submitting.same_server import refuse_another_server
from serviceoptd.toolkit.interface import Command, Workplace


@dataclass(frozen=True)
class Plans:
    """What the first particle would start."""

    service: ServicePlan
    client: MeasurementPlan
    workplace: Workplace

    def commands(self) -> list[tuple[str, Command]]:
        """The plans that are processes, by role."""
        found = (("service", self.service.command), ("stop", self.service.stop), ("client", self.client.command))
        return [(role, command) for role, command in found if command is not None]


def first_configuration(draft: Draft) -> Configuration:
    """What a run measures first: the current setting; the middle of the space where none is given.

    Raises:
        BrokenPlugin: the engine fails to repair it.
    """
    with blaming("engine", draft.settings.engine):
        return draft.space.repair({})


def planned(draft: Draft) -> Draft:
    """The draft with the plan of the first particle's service.

    A simulated client is not asked: its plan is its whole benchmark.

    Raises:
        InvalidConfiguration: the engine or the client refuses the first particle, or the client would ask another server.
        BrokenPlugin: one of them fails.
    """
    first = first_configuration(draft)
    service = service_plan(draft, draft.workplace, first)
    if not service.simulated:
        refuse_another_server(service, client_plan(draft, draft.workplace, first), draft)
    return replace(draft, plan=service)


def first_plans(draft: Draft, state: Path) -> Plans:
    """Both plans, the same data as the daemon uses below the directory `state`, which need not exist.

    Raises:
        InvalidConfiguration: the engine or the client refuses these values.
        BrokenPlugin: one of them fails.
    """
    evaluation = state / "runs" / "N" / "evaluation-1"
    launch = replace(draft.workplace, directory=evaluation / "launch-1")
    first = first_configuration(draft)
    measurement = replace(launch, directory=evaluation / "measurement-1-1")
    try:
        service = service_plan(draft, launch, first)
    except InvalidConfiguration as refused:
        raise _with_the_clients(refused, draft, measurement) from refused
    client = client_plan(draft, measurement, first)
    refuse_another_server(service, client, draft)
    return Plans(service, client, launch)


def _with_the_clients(refused: InvalidConfiguration, draft: Draft, workplace: Workplace) -> InvalidConfiguration:
    """What the client refuses as well is told in the same pass."""
    try:
        client_plan(draft, workplace, first_configuration(draft))
    except InvalidConfiguration as also:
        hints = dict.fromkeys(each.hint for each in (refused, also) if each.hint)
        return InvalidConfiguration(f"{refused}\n{also}", hint="; ".join(hints))
    except ServiceoptError:
        pass  # what this machine lacks is told once the values are right
    return refused


def service_plan(draft: Draft, workplace: Workplace, configuration: Configuration) -> ServicePlan:
    """What the engine would start for a configuration.

    Raises:
        InvalidConfiguration: the engine refuses these values.
        BrokenPlugin: it fails.
    """
    settings = draft.settings
    order = ServiceOrder(
        configuration=configuration,
        fields=settings.fields,
        workplace=workplace,
        managed=settings.manage_lifecycle,
    )
    with blaming("engine", settings.engine):
        return draft.engine.plan(order)


def client_plan(draft: Draft, workplace: Workplace, configuration: Configuration) -> MeasurementPlan:
    """What the client would start for a configuration.

    Raises:
        InvalidConfiguration: the client refuses these values.
        BrokenPlugin: it fails.
    """
    settings = draft.settings
    concurrency, rate = load_of(configuration)
    order = MeasurementOrder(
        configuration=configuration,
        fields=settings.fields,
        concurrency=concurrency,
        request_rate=rate,
        seed=1,
        warm_up_requests=0,
        objective=settings.objective,
        workplace=workplace,
    )
    with blaming("benchmark", settings.benchmark):
        return draft.benchmark.plan(order)
