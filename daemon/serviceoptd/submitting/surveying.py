"""What is known once this machine is seen, taken into the settings of a run: bounds of fields, model, accelerators."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from serviceoptd.domain.accelerators import peak_of
from serviceoptd.domain.settings import DeviceFacts, ModelFacts, RunSettings
from serviceoptd.domain.space.space import Space
from serviceoptd.engines.interface import Describing, Engine, Surveying
from serviceoptd.io.devices import nvidia_limits
from serviceoptd.toolkit.interface import Problem, Workplace
from serviceoptd.toolkit.secrets import mask


def surveyed(settings: RunSettings, engine: Engine, workplace: Workplace) -> tuple[RunSettings, tuple[Problem, ...]]:
    """The settings with current values and bounds that the engine found, and what it says about them.

    They still tell the fields as they were written: a configuration that is read again has nothing else to compare.
    """
    if not isinstance(engine, Surveying):
        return settings, ()
    found = engine.surveyed(settings.fields, workplace, settings.notes)
    if found.fields == settings.fields:
        return settings, found.remarks
    return replace(settings, fields=found.fields, as_written=settings.fields), found.remarks


def with_model_facts(settings: RunSettings, engine: Engine, workplace: Workplace) -> RunSettings:
    """The settings with what the model asks for, where the engine can tell and starts the service itself."""
    if not isinstance(engine, Describing) or not settings.manage_lifecycle:
        return settings
    facts = engine.model_facts(workplace)
    arguments = {name: str(mask(name, value)) for name, value in facts.arguments.items()}
    return replace(settings, model_facts=replace(facts, arguments=arguments))


def with_simulation_files(settings: RunSettings, space: Space, workplace: Workplace) -> RunSettings:
    """The settings with the hashes of the files of the simulator that advises the search, where one does.

    Raises:
        EnvironmentLacks: one cannot be read, or is no latency model.
        InvalidConfiguration: a limit of the scheduler is told nowhere.
    """
    if not settings.search.simulation:
        return settings
    from serviceoptd.predicting.advisor import files_of

    configuration = space.current() or space.decode([0.5] * len(space.dimensions))
    return replace(settings, simulation_files=files_of(settings, workplace.working_directory, configuration))


async def with_device_facts(settings: RunSettings, environment: Mapping[str, str]) -> RunSettings:
    """The settings with the limits of the accelerators; what the configuration says of them counts before the rest.

    No device is asked for where nothing is known of the model: there is nothing to compare with.
    """
    if settings.model_facts == ModelFacts():
        return settings
    given, found = settings.device_facts, await nvidia_limits(environment)
    name, memory = found or ("", None)
    peak = peak_of(name)
    return replace(
        settings,
        device_facts=DeviceFacts(
            name=name,
            memory=given.memory or memory,
            bandwidth=given.bandwidth or (peak.bandwidth if peak else None),
            flops=given.flops or (peak.flops if peak else None),
        ),
    )
