"""The second step: current values and bounds that the engine finds on this machine are taken into the settings."""

from __future__ import annotations

from dataclasses import replace

from msgspec import structs

from serviceoptd.config.plugins import blaming
from serviceoptd.engines.interface import Surveying
from serviceoptd.submitting.draft import Draft
from serviceoptd.toolkit.interface import Problem, Remarking


def surveyed(draft: Draft) -> Draft:
    """The draft with current values and bounds that the engine found, and what it and the client say about the fields.

    The settings still tell the fields as they were written: a configuration that is read again has nothing else to
    compare.

    Raises:
        BrokenPlugin: the engine fails.
    """
    engine, settings, told = draft.engine, draft.settings, _remarks(draft)
    if not isinstance(engine, Surveying):
        return replace(draft, told=told)
    with blaming("engine", settings.engine):
        found = engine.surveyed(settings.fields, draft.workplace, settings.notes)
    if found.fields != settings.fields:
        settings = structs.replace(settings, fields=found.fields, as_written=settings.fields)
    return replace(draft, settings=settings, told=(*found.remarks, *told))


def _remarks(draft: Draft) -> tuple[Problem, ...]:
    """What engine and client see in the fields; an engine that starts nothing has nothing to say."""
    engine, client, fields = draft.engine, draft.benchmark, draft.settings.fields
    found: list[Problem] = []
    if isinstance(engine, Remarking) and draft.settings.manage_lifecycle:
        with blaming("engine", draft.settings.engine):
            found += engine.remarks(fields)
    if isinstance(client, Remarking):
        with blaming("benchmark", draft.settings.benchmark):
            found += client.remarks(fields)
    return tuple(found)
