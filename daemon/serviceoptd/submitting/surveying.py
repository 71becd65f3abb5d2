"""The second step: current values and bounds that the engine finds on this machine are taken into the settings."""

from __future__ import annotations

from dataclasses import replace

from msgspec import structs

from serviceoptd.config.plugins import blaming
from serviceoptd.engines.interface import Surveying
from serviceoptd.predicting.data_set.records import NoDataSet
from serviceoptd.submitting.draft import Draft
from serviceoptd.toolkit.interface import Problem, Remarking

SIMULATED = "simulated"
DATA_SET = "simulated.data_set"


def surveyed(draft: Draft) -> Draft:
    """The draft with current values and bounds that the engine found, and what it and the client say about the fields.

    The settings still tell the fields as they were written: a configuration that is read again has nothing else to
    compare.

    Raises:
        BrokenPlugin: the engine fails.
    """
    engine, settings, told = draft.engine, draft.settings, (*_lengths(draft), *_remarks(draft))
    if not isinstance(engine, Surveying):
        return replace(draft, told=told)
    with blaming("engine", settings.engine):
        found = engine.surveyed(settings.fields, draft.workplace, settings.notes)
    if found.fields != settings.fields:
        settings = structs.replace(settings, fields=found.fields, as_written=settings.fields)
    return replace(draft, settings=settings, told=(*found.remarks, *told))


def _lengths(draft: Draft) -> tuple[Problem, ...]:
    """What is simulated of the client's data set, or why its lengths are not."""
    settings = draft.settings
    options = settings.engine_options if settings.engine == SIMULATED else settings.search.simulation
    if not options.get("data_set") or not options.get("model") or options.get("lengths"):
        return ()
    from serviceoptd.predicting.data_set.lengths import data_set
    from serviceoptd.predicting.section import SimulatedSection

    section = SimulatedSection.model_validate(options)
    assert section.data_set is not None  # noqa: S101 - it is in the options
    try:
        found = data_set(section.data_set, draft.workplace.working_directory)
    except NoDataSet as error:
        instead = f"{section.input_tokens} and {section.output_tokens} tokens a request are simulated in its place"
        return (Problem(DATA_SET, f"{error.message}: {instead}", error.hint),)
    return (Problem(DATA_SET, found.summary()),)


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
