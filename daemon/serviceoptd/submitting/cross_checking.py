"""The third step: values that are each legal are checked against each other, and what is found gets its line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from serviceoptd.config.plugins import blaming
from serviceoptd.config.problems import ConfigProblem, ConfigurationErrors
from serviceoptd.config.source import Source, parse
from serviceoptd.submitting.cross_checks import Disagreement, disagreements, remarks
from serviceoptd.submitting.draft import Draft
from serviceoptd.submitting.planning import refusals_of_both


def cross_checked(draft: Draft) -> Draft:
    """The draft with its contradictions, and with remarks on what is legal and probably not meant.

    Raises:
        BrokenPlugin: the engine or the client fails.
    """
    loaded = draft.loaded
    place = str(loaded.path) if loaded.path else ""
    source = parse(loaded.text, place, {})
    with blaming("engine", draft.settings.engine):
        problems = disagreements(draft.settings, draft.space)
        found = remarks(draft.settings, draft.space)
    told = (ConfigProblem(place, 0, each.key, each.message, each.hint) for each in draft.told)
    return replace(
        draft,
        problems=(*(_placed(source, each) for each in problems), *_refused_as_well(draft, problems)),
        remarks=(*loaded.warnings, *told, *(_placed(source, each) for each in found)),
    )


def _refused_as_well(draft: Draft, problems: Sequence[Disagreement]) -> Iterator[ConfigProblem]:
    """What engine and client refuse besides: a contradiction ends the pass, and all of it is told in one."""
    if not problems or draft.loaded.placeholders or any(each.refused_too for each in problems):
        return
    place = str(draft.loaded.path) if draft.loaded.path else ""
    for refused in refusals_of_both(draft):
        for line in refused.message.split("\n"):
            yield ConfigProblem(place, 0, "", line, refused.hint)


def _placed(source: Source, found: Disagreement) -> ConfigProblem:
    return source.problem(tuple(found.key.split(".")), found.message, found.allowed)


def refuse_contradictions(draft: Draft) -> None:
    """Refuses combinations that cannot mean anything.

    Raises:
        ConfigurationErrors: placeholders are still to be replaced, or values contradict each other.
    """
    if draft.unusable:
        raise ConfigurationErrors(draft.unusable)
