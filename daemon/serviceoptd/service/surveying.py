"""What an engine knows about its target fields once it sees this machine, taken into the settings of a run."""

from __future__ import annotations

from msgspec.structs import replace

from serviceoptd.domain.repaired_space import RepairedSpace
from serviceoptd.domain.settings import RunSettings
from serviceoptd.domain.space import Space
from serviceoptd.engines.interface import Engine, Problem, Repairing, Surveying, Workplace


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


def search_space(space: Space, engine: object) -> Space:
    """The space that is searched: with the engine's repairs, where it has any."""
    return RepairedSpace.over(space, engine.repaired) if isinstance(engine, Repairing) else space
