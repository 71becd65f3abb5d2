"""The fourth step: what the first particle would start, as the engine and the client give it. Nothing of it exists."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from serviceopt_journal.errors import EnvironmentLacks, InvalidConfiguration
from serviceopt_journal.events import Configuration
from serviceoptd.benchmarks.interface import MeasurementOrder, MeasurementPlan
from serviceoptd.config.plugins import blaming
from serviceoptd.domain.load import load_of
from serviceoptd.engines.interface import ServiceOrder, ServicePlan
from serviceoptd.submitting.draft import Draft
from serviceoptd.submitting.same_server import refuse_another_server
from serviceoptd.toolkit.interface import Command, Refusals, Workplace


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
    service, _ = _both(draft, draft.workplace, draft.workplace, first, asks_simulated=False)
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
    service, client = _both(draft, launch, measurement, first, asks_simulated=True)
    assert client is not None  # noqa: S101 - every client was asked
    return Plans(service, client, launch)


def _both(
    draft: Draft, launch: Workplace, measurement: Workplace, configuration: Configuration, *, asks_simulated: bool
) -> tuple[ServicePlan, MeasurementPlan | None]:
    """What engine and client would start; what both refuse is told in one pass."""
    refusals = Refusals()
    service: ServicePlan | None = None
    client: MeasurementPlan | None = None
    with refusals.collected():
        service = service_plan(draft, launch, configuration)
    if asks_simulated or service is None or not service.simulated:
        with refusals.collected():
            client = client_plan(draft, measurement, configuration)
    if service is not None and client is not None:
        with refusals.collected():
            refuse_another_server(service, client, draft)
    refusals.tell()
    assert service is not None  # noqa: S101 - it was refused otherwise
    return service, client


def refusals_of_both(draft: Draft) -> list[InvalidConfiguration]:
    """What the engine and the client each refuse of the first particle, whatever else is wrong with the configuration.

    Raises:
        BrokenPlugin: one of them fails.
    """
    found = []
    first = first_configuration(draft)
    for plan in (service_plan, client_plan):
        try:
            plan(draft, draft.workplace, first)
        except InvalidConfiguration as refused:
            found.append(refused)
        except EnvironmentLacks:
            pass  # what this machine lacks is told once the values are right
    return found


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
