"""Are the other choices of a parameter sound, too? The first configuration shows only one of each. Starts nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from serviceopt_journal.errors import EnvironmentLacks, InvalidConfiguration
from serviceopt_journal.events import Configuration
from serviceoptd.config.problems import ConfigProblem
from serviceoptd.submitting.draft import Draft
from serviceoptd.submitting.planning import client_plan, first_configuration, service_plan
from serviceoptd.submitting.same_server import refuse_another_server
from serviceoptd.toolkit.interface import Refusals


def refuse_choices_of_another_server(draft: Draft) -> None:
    """No choice of a parameter may send the client to another server: its answers would be believed.

    What the engine or the client refuses by itself is left to them: such a configuration fails before it is started.

    Raises:
        InvalidConfiguration: with one of the choices another server would be measured.
        BrokenPlugin: the engine or the client fails.
    """
    refusals = Refusals()
    for name, text, configuration in _choices(draft):
        try:
            service = service_plan(draft, draft.workplace, configuration)
            if service.simulated:
                return
            client = client_plan(draft, draft.workplace, configuration)
        except (EnvironmentLacks, InvalidConfiguration):
            continue
        try:
            refuse_another_server(service, client, draft)
        except InvalidConfiguration as refused:
            refusals.add(InvalidConfiguration(f"{name} = {text!r}: {refused}", hint=refused.hint))
    refusals.tell()


def with_refused_choices(draft: Draft) -> Draft:
    """The draft with a remark for each choice that the engine or the client refuses while everything else stays first.

    Nothing is remarked where the first configuration is refused itself.

    Raises:
        BrokenPlugin: the engine or the client fails.
    """
    choices = list(_choices(draft))
    if not choices or _refusal(draft, first_configuration(draft)) is not None:
        return draft
    place = str(draft.loaded.path) if draft.loaded.path else ""
    found = (
        ConfigProblem(place, 0, name, f"{text!r} is refused: {why}", "leave out the choice, or what it contradicts")
        for name, text, configuration in choices
        if (why := _refusal(draft, configuration)) is not None
    )
    return replace(draft, remarks=(*draft.remarks, *found))


def _refusal(draft: Draft, configuration: Configuration) -> EnvironmentLacks | InvalidConfiguration | None:
    try:
        if not service_plan(draft, draft.workplace, configuration).simulated:
            client_plan(draft, draft.workplace, configuration)
    except (EnvironmentLacks, InvalidConfiguration) as refused:
        return refused
    return None


def _choices(draft: Draft) -> Iterator[tuple[str, str, Configuration]]:
    """Each text that a parameter may take instead of its first, with the configuration in which it alone is another."""
    first = first_configuration(draft)
    for field in draft.space.dimensions:
        for text in field.dtype_param if field.dtype == "enum" else ():
            if isinstance(text, str) and text != first[field.name]:
                yield field.name, text, draft.space.repair({**first, field.name: text})
