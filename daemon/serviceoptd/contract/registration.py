"""What the suites of engines and clients ask of the registration: found by entry point, and loadable by configuration."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

import msgspec

from serviceopt_journal.events import Configuration
from serviceoptd.benchmarks.simulated import SimulatedBenchmark
from serviceoptd.config.load import Loaded, load_text
from serviceoptd.config.plugins import Plugins
from serviceoptd.config.sections import tables_of
from serviceoptd.domain.settings import LOAD_NAMES, Field
from serviceoptd.domain.space.space import Space
from serviceoptd.engines.simulated import SimulatedEngine


def registered(group: str, name: str) -> Any:
    """What the installed entry point of this name loads; None where there is none."""
    return next((entry.load() for entry in entry_points(group=group, name=name)), None)


def loaded_with_engine(engine: type[Any], options: Mapping[str, Any]) -> Loaded:
    """A configuration that chooses this engine and gives it this section."""
    return _loaded(engine.name, SimulatedBenchmark.name, Plugins.of([engine], [SimulatedBenchmark]), options)


def loaded_with_client(client: type[Any], options: Mapping[str, Any]) -> Loaded:
    """A configuration that chooses this client and gives it this section."""
    return _loaded(SimulatedEngine.name, client.name, Plugins.of([SimulatedEngine], [client]), options)


def _loaded(engine: str, benchmark: str, plugins: Plugins, options: Mapping[str, Any]) -> Loaded:
    name = benchmark if engine == SimulatedEngine.name else tables_of(plugins, engine).section
    return load_text(
        "", engine=engine, benchmark=benchmark, environment={}, overrides={name: dict(options)}, installed=plugins
    )


def default_fields(plugin: type[Any], *, load_only: bool) -> tuple[Field, ...]:
    """The target fields of the plugin's default section."""
    fields = msgspec.convert(plugin.defaults.get("target_field", []), tuple[Field, ...], strict=False)
    return tuple(msgspec.structs.replace(field, load=load_only or field.name in LOAD_NAMES) for field in fields)


def first_configuration(fields: tuple[Field, ...]) -> Configuration:
    """What a run with these fields measures first."""
    return Space.of(fields).repair({})
