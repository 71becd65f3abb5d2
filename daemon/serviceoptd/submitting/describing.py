"""What a run keeps of its model, its simulator and its accelerators, so that its search never depends on them anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from msgspec import structs

from serviceoptd.config.plugins import blaming
from serviceoptd.domain.settings import DeviceFacts, ModelFacts, RunSettings
from serviceoptd.engines.interface import Describing
from serviceoptd.io.devices import nvidia_limits
from serviceoptd.rules.accelerators import peak_of
from serviceoptd.submitting.draft import Draft
from serviceoptd.submitting.planning import first_configuration
from serviceoptd.toolkit.secrets import mask


def described(draft: Draft) -> Draft:
    """The draft with what the model asks for, and with the hashes of the simulator's files where one advises the search.

    Raises:
        EnvironmentLacks: a file of the simulator cannot be read, or is not a latency model.
        InvalidConfiguration: a limit of the simulator's scheduler is told nowhere.
        BrokenPlugin: the engine fails.
    """
    return _with_simulation_files(_with_model_facts(draft))


def _with_model_facts(draft: Draft) -> Draft:
    """Where the engine can tell and starts the service itself."""
    engine, settings = draft.engine, draft.settings
    if not isinstance(engine, Describing) or not settings.manage_lifecycle:
        return draft
    with blaming("engine", settings.engine):
        facts = engine.model_facts(draft.workplace)
    arguments = {name: str(mask(name, value)) for name, value in facts.arguments.items()}
    facts = structs.replace(facts, arguments=arguments)
    return replace(draft, settings=structs.replace(settings, model_facts=facts))


def _with_simulation_files(draft: Draft) -> Draft:
    settings = draft.settings
    if not settings.search.simulation:
        return draft
    from serviceoptd.predicting.advisor import files_of

    files = files_of(settings, draft.workplace.working_directory, first_configuration(draft))
    return replace(draft, settings=structs.replace(settings, simulation_files=files))


async def with_device_facts(settings: RunSettings, environment: Mapping[str, str]) -> RunSettings:
    """The settings with the limits of the accelerators; what the configuration says of them counts before the rest.

    No device is asked for where nothing is known of the model: there is nothing to compare with.
    """
    if settings.model_facts == ModelFacts():
        return settings
    given, found = settings.device_facts, await nvidia_limits(environment)
    name, memory = found or ("", None)
    peak = peak_of(name)
    return structs.replace(
        settings,
        device_facts=DeviceFacts(
            name=name,
            memory=given.memory or memory,
            bandwidth=given.bandwidth or (peak.bandwidth if peak else None),
            flops=given.flops or (peak.flops if peak else None),
        ),
    )
