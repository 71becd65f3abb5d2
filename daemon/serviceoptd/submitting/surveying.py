"""The second step: current values and bounds that the engine finds on this machine are taken into the settings."""

from __future__ import annotations

from dataclasses import replace

from msgspec import structs

from serviceoptd.config.plugins import blaming
from serviceoptd.engines.interface import Surveying
from serviceoptd.submitting.draft import Draft


def surveyed(draft: Draft) -> Draft:
    """The draft with current values and bounds that the engine found, and what it says about them.

    The settings still tell the fields as they were written: a configuration that is read again has nothing else to
    compare.

    Raises:
        BrokenPlugin: the engine fails.
    """
    engine, settings = draft.engine, draft.settings
    if not isinstance(engine, Surveying):
        return draft
    with blaming("engine", settings.engine):
        found = engine.surveyed(settings.fields, draft.workplace, settings.notes)
    if found.fields != settings.fields:
        settings = structs.replace(settings, fields=found.fields, as_written=settings.fields)
    return replace(draft, settings=settings, told=found.remarks)
