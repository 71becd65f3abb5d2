"""Simulation mode: what the files of the real engine and client tell of their limits and requests is simulated."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from msgspec import structs

from serviceopt_journal.errors import InvalidConfiguration
from serviceoptd.benchmarks.simulated_workload import shares_prefixes
from serviceoptd.config.load import Loaded
from serviceoptd.config.plugins import blaming
from serviceoptd.config.simulation_mode import LENGTHS_KEY as LENGTHS
from serviceoptd.config.simulation_mode import not_known_from, with_told
from serviceoptd.submitting.draft import Installed
from serviceoptd.toolkit.interface import Simulable, Workplace


def with_files_of_the_real_pair(loaded: Loaded, installed: Installed, workplace: Workplace) -> Loaded:
    """The configuration with what stands in these files; keys of `[simulated]` win. Unchanged where nothing is simulated.

    Raises:
        BrokenPlugin: the engine or the client fails.
    """
    if (pair := loaded.simulated) is None:
        return loaded
    told: dict[str, Any] = {}
    measured = bool(loaded.settings.search.simulation)
    if not measured:  # of an engine that is measured, the limits are known otherwise
        with blaming("engine", pair.engine.name):
            told |= _told(installed.engine_class(pair.engine.name)(pair.engine.options), workplace)
    unknown = ""
    with blaming("benchmark", pair.client.name):
        client = installed.benchmark_class(pair.client.name)(pair.client.options)
        try:
            told |= _told(client, workplace)
        except InvalidConfiguration as error:
            unknown = error.message
    settings = loaded.settings
    known = settings.search.simulation if measured else settings.engine_options
    if shares_prefixes(told) and known.get("scheduler", "vllm") == "vllm":
        told["limits"] = {"enable_prefix_caching": True, **told.get("limits", {})}
    options = with_told(known, told, pair.given)
    if measured:
        settings = structs.replace(settings, search=structs.replace(settings.search, simulation=options))
    else:
        settings = structs.replace(settings, engine_options=options, benchmark_options=options)
    # what is told by a file is no longer asked for
    answered = {LENGTHS} if {"data_set", "input_tokens"} & told.keys() else set()
    warnings = [warning for warning in loaded.warnings if warning.key not in answered]
    if unknown:
        warnings = [not_known_from(unknown) if warning.key == LENGTHS else warning for warning in warnings]
    return replace(loaded, settings=settings, warnings=tuple(warnings))


def _told(plugin: object, workplace: Workplace) -> dict[str, Any]:
    return dict(plugin.simulated(workplace)) if isinstance(plugin, Simulable) else {}
