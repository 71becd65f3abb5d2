"""The two files of the scripts' directory that launches change: what goes where, and what MindIE would refuse."""

from __future__ import annotations

import os
from pathlib import Path

from serviceopt_journal.errors import EnvironmentLacks, InvalidConfiguration
from serviceopt_journal.events import Value
from serviceopt_journal.foreign_files import LARGEST_CONFIGURATION, content
from serviceoptd.engines.interface import ServiceOrder
from serviceoptd.engines.mindie.configuration import JsonText
from serviceoptd.engines.mindie.limits import contradictions
from serviceoptd.engines.mindie_kubernetes.deployment import RATES
from serviceoptd.toolkit import arguments
from serviceoptd.toolkit.interface import Problem, Workplace

CONFIGURATION, CONTROLLER = "conf/config.json", "conf/ms_controller.json"
OF_THE_CONTROLLER = "default"
"""How positions begin that belong into conf/ms_controller.json."""

MOST_INSTANCES = 16
"""Of prefill and decode together (MindIE's manual of the controller, "Configuration Description")."""


def by_file(order: ServiceOrder) -> dict[str, dict[str, Value]]:
    """What goes to which position of which file."""
    values: dict[str, dict[str, Value]] = {CONFIGURATION: {}, CONTROLLER: {}}
    for field in order.fields:
        position = field.config_position
        if position == "env" or field.name not in order.configuration:
            continue
        if field.load or position.startswith(arguments.ARGUMENT):
            what = "tunes the load" if field.load else "is a flag, and serviceopt does not start the pods' commands"
            raise InvalidConfiguration(
                f'{field.name} {what}, so config_position = "{position}" means nothing to {CONFIGURATION}',
                hint=f'write "env", a position of {CONFIGURATION}, or one of {CONTROLLER} ("{OF_THE_CONTROLLER}...")',
            )
        found = values[CONTROLLER if position.startswith(OF_THE_CONTROLLER) else CONFIGURATION]
        if position in found:
            raise InvalidConfiguration(f"two fields are written to `{position}`", hint="keep one of the two")
        found[position] = order.configuration[field.name]
    return values


def refuse_unusable(name: str, edited: JsonText) -> None:
    """What MindIE would refuse about the file.

    Raises:
        InvalidConfiguration: it would.
    """
    if name == CONFIGURATION:
        refused = list(contradictions(edited.document))
    else:
        prefill, decode = (edited.get(position) for position in RATES)
        whole = all(isinstance(rate, int) and not isinstance(rate, bool) for rate in (prefill, decode))
        refused = []
        if whole and (prefill == 0) != (decode == 0):
            refused = [f"default_p_rate {prefill} and default_d_rate {decode}: both are 0 (MindIE decides) or neither"]
        elif whole and prefill + decode > MOST_INSTANCES:
            refused = [f"default_p_rate {prefill} and default_d_rate {decode} are more than {MOST_INSTANCES} together"]
    if refused:
        raise InvalidConfiguration("; ".join(refused), hint=f"narrow the search space, or correct {edited.source}")


def text_of(path: Path, workplace: Workplace) -> JsonText:
    """A JSON file as its user left it, also while a launch of ours has it edited."""
    content = workplace.originals.get(path)
    return JsonText.of(content_of(path) if content is None else content, str(path))


def content_of(path: Path) -> bytes:
    """The bytes of the file, or why it cannot be read."""
    try:
        return content(path, LARGEST_CONFIGURATION, through_links=True)
    except OSError as error:
        raise EnvironmentLacks(
            f"{path} cannot be read: {(error.strerror or '').lower()}", hint="correct [kubectl] kubectl_default_path"
        ) from error


def unwritable(directory: Path, key: str) -> list[Problem]:
    """Problems of files that cannot be replaced: a new one is made beside each of the two."""
    places = {(directory / name).resolve() for name in (CONFIGURATION, CONTROLLER)}
    refused = [path for path in sorted(places) if not all(os.access(each, os.W_OK) for each in (path, path.parent))]
    hint = "let the daemon's user write both; under systemd a drop-in with ReadWritePaths= too (`doctor --unit`)"
    return [
        Problem(key, f"{path} or its directory cannot be written, and launches change it", hint) for path in refused
    ]
