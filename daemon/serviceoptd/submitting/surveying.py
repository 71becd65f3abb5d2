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
SPREAD = ("input_distribution", "output_distribution")
DATA_SET, CHAT_TEMPLATE = "simulated.data_set", "simulated.chat_template"


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
    """What is simulated of the client's data set or chats, or why it is not."""
    settings = draft.settings
    options = settings.engine_options if settings.engine == SIMULATED else settings.search.simulation
    told = {"data_set", "chat_template", *SPREAD} & {key for key, value in options.items() if value}
    if not told or not options.get("model") or options.get("lengths"):
        return ()
    from serviceoptd.predicting.data_set.lengths import added_tokens, data_set
    from serviceoptd.predicting.section import SimulatedSection

    section, directory = SimulatedSection.model_validate(options), draft.workplace.working_directory
    if section.data_set is None:
        spread = ((key, getattr(section, key)) for key in SPREAD)
        found_spread = [
            Problem(f"{SIMULATED}.{key}", f"{each.summary()} are simulated") for key, each in spread if each
        ]
        if section.chat_template is None:
            return tuple(found_spread)
        added, why = added_tokens(section.chat_template, directory)
        said = f"the chat template's tokens are not simulated: {why}" if why else f"adds {added} tokens to each prompt"
        return (*found_spread, Problem(CHAT_TEMPLATE, said))
    try:
        found = data_set(section.data_set, directory)
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
