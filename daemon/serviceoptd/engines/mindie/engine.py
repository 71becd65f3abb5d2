"""MindIE on one machine: its daemon, configured by config.json, which is edited for each launch and put back."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from serviceopt_journal.errors import InvalidConfiguration, ServiceoptError
from serviceopt_journal.events import Configuration, Value
from serviceopt_journal.foreign_text import json_value
from serviceoptd.domain.settings import LOAD_NAMES, Field, ModelFacts
from serviceoptd.engines.interface import ServiceOrder, ServicePlan, Survey
from serviceoptd.engines.mindie.configuration import JsonText, leaves
from serviceoptd.engines.mindie.deployment import Address, accelerators, weights_path
from serviceoptd.engines.mindie.installation import Installation
from serviceoptd.engines.mindie.limits import contradictions, repaired
from serviceoptd.engines.mindie.section import DEFAULT_SPACE, MODEL, VARIABLES, MindieSection
from serviceoptd.engines.mindie.simulated_limits import facts_of, limits_in, total_blocks
from serviceoptd.engines.mindie.survey import current_values, narrowed, without_swapping
from serviceoptd.toolkit import arguments, program, provenance
from serviceoptd.toolkit.interface import LogProbe, Options, Problem, Refusals, Workplace
from serviceoptd.toolkit.position_checks import refuse_searched_service

READY = "Daemon start success!"
WITHOUT_EFFECT = re.compile(r"LogConfig\..*|ServerConfig\.(?i:.*(address|port|tls|listening).*)")
"""Positions of config.json on which no measured value depends: logging, addresses, certificates."""


class MindieEngine:
    """`mindieservice_daemon`, ready when its log and, without TLS, its health check say so."""

    name: ClassVar[str] = "mindie"
    section: ClassVar[type[Options]] = MindieSection
    defaults: ClassVar[Mapping[str, Any]] = {"target_field": DEFAULT_SPACE}
    relevant_variables: ClassVar[Sequence[str]] = VARIABLES

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = MindieSection.model_validate(options)

    def plan(self, order: ServiceOrder) -> ServicePlan:
        """The process, with config.json edited: what its user wrote, and the searched values in their places.

        Raises:
            InvalidConfiguration: as the interface says.
            EnvironmentLacks: config.json cannot be read.
        """
        values = _service_values(order)
        own = program.section_environment(self.options, order.workplace, values)
        installation = Installation.of(self.options, order.workplace, own)
        text = installation.text(order.workplace)
        address = Address.of(text.document, {**order.workplace.environment, **own}, self.options.health_path)
        health = address.health if address is not None else None
        if not order.managed:
            refuse_searched_service(order.fields, self.name)
            if health is None:
                raise InvalidConfiguration(
                    "the log of a service that serviceopt did not start cannot be read, and its health check speaks TLS",
                    hint="ServerConfig.httpsEnabled = false, or use the `command` engine with a ready_url",
                )
            return ServicePlan(command=None, ready=health, report=address.status if address is not None else None)
        edited = text.replaced(_positions(order))
        document = edited.document
        refusals = Refusals()
        for refused in contradictions(document):
            hint = f"narrow the search space, or correct {text.source}"
            refusals.add(InvalidConfiguration(refused, hint=hint))
        environment = {**installation.environment, **own}
        environment |= arguments.field_environment(order.fields, order.configuration, load=False)
        flags = {
            f"target_field {field.name}": arguments.field_arguments([field], order.configuration, load=False)
            for field in order.fields
        }
        with refusals.collected():
            arguments.refuse_doubled(flags)
        stop = None
        with refusals.collected():
            stop = program.stop_command(self.options, order.workplace, environment, values)
        refusals.tell()
        argv = [installation.program, *(word for words in flags.values() for word in words)]
        return ServicePlan(
            command=program.command(argv, self.options, order.workplace, environment),
            ready=(LogProbe(READY), health) if health is not None else LogProbe(READY),
            listens_on=(address.host, address.port) if address is not None else None,
            stop=stop,
            edits={installation.configuration: edited.encoded()} if edited != text else {},
            configured_by=(installation.configuration,),
            devices=accelerators(document),
            report=address.status if address is not None else None,
        )

    @staticmethod  # the same for all of its engines: what a space decodes to is known from run to run
    def repaired(configuration: Configuration, fields: Sequence[Field]) -> Configuration:
        """As MindIE's parameters limit each other."""
        return repaired(configuration, fields)

    def surveyed(self, fields: Sequence[Field], workplace: Workplace, guidance: Mapping[str, Any]) -> Survey:
        """Current values from config.json, and the bound that memory sets to `maxBatchSize`."""
        try:
            text = self._installation(workplace).text(workplace)
        except ServiceoptError:
            return Survey(tuple(fields))
        swapping = without_swapping(current_values(fields, text), text)
        found = narrowed(swapping.fields, text, self.options, workplace, guidance)
        return Survey(found.fields, (*swapping.remarks, *found.remarks))

    def remarks(self, fields: Sequence[Field]) -> list[Problem]:
        """Fields that are named like a value of config.json and are exported instead, which MindIE does not read."""
        places = {_plain(each["name"]): each["config_position"] for each in DEFAULT_SPACE}
        places |= {_plain(place.rpartition(".")[2]): place for place in places.values() if place != "env"}
        return [
            Problem(
                field.name,
                "is only exported as an environment variable, which nothing uses",
                f'config_position = "{places[_plain(field.name)]}"',
            )
            for field in fields
            if field.config_position == "env" and places.get(_plain(field.name), "env") != "env"
        ]

    def problems(self, workplace: Workplace, managed: bool = True) -> list[Problem]:
        """What a launch lacks, with the key that is to blame.

        `managed` false: nothing that only a launch needs is asked for.
        """
        installation = self._installation(workplace)
        try:
            text = installation.text(workplace)
        except ServiceoptError as error:
            found = [Problem("mindie.config_path", error.message, error.hint)]
        else:
            found = [] if not managed else [*_unwritable(installation.configuration), *_model_problems(text, workplace)]
        if not managed:
            return found
        return found + program.program_problems(self.name, installation.program, self.options, workplace)

    def identity(self, workplace: Workplace) -> dict[str, str]:
        """Version, model, environment, and each value of config.json under its position, so that those searched can be
        told from those that are fixed."""
        own = provenance.safely_read_environment(self.options, workplace)
        installation = Installation.of(self.options, workplace, own)
        parts = {
            "version": installation.version(workplace),
            "environment": provenance.relevant_environment(workplace, own, self.relevant_variables),
        }
        try:
            document = installation.text(workplace).document
        except ServiceoptError:
            return {**parts, "model": provenance.ABSENT}
        fixed = {
            position: JsonText.shown(value)
            for position, value in leaves(document)
            if not WITHOUT_EFFECT.fullmatch(position)
        }
        return {**parts, "model": provenance.model_identity(weights_path(document), workplace), **fixed}

    def kv_blocks(self, report: str) -> int | None:
        """`totalNpuBlockNums` of /v1/status: of all instances of the model together."""
        try:
            return total_blocks(json_value(report))
        except ValueError:
            return None

    def simulated(self, workplace: Workplace) -> Mapping[str, Any]:
        """The limits of the scheduler, as config.json has them."""
        try:
            return {"limits": limits_in(self._installation(workplace).text(workplace), workplace)}
        except ServiceoptError:  # told by `problems`, where it is to be started
            return {}

    def model_facts(self, workplace: Workplace) -> ModelFacts:
        """The fixed limits of the scheduler alone: of the model nothing is said."""
        return facts_of(self.simulated(workplace).get("limits", {}))

    def devices(self, configuration: Configuration, fields: Sequence[Field] = ()) -> int:
        """A searched worldSize; else 1, and the plan tells it from config.json."""
        named = {field.config_position: configuration.get(field.name) for field in fields}
        size = named.get(f"{MODEL}.worldSize")
        return size if type(size) is int and size > 0 else 1

    def _installation(self, workplace: Workplace) -> Installation:
        return Installation.of(self.options, workplace, provenance.safely_read_environment(self.options, workplace))


def _plain(name: str) -> str:
    return name.lower().replace("_", "")


def _service_values(order: ServiceOrder) -> dict[str, object]:
    load = {field.name for field in order.fields if field.load} | LOAD_NAMES
    return {name: value for name, value in order.configuration.items() if name not in load}


def _positions(order: ServiceOrder) -> dict[str, Value]:
    """What goes to which dotted position."""
    found: dict[str, str] = {}
    for field in order.fields:
        position = field.config_position
        if position == "env" or position.startswith(arguments.ARGUMENT) or field.name not in order.configuration:
            continue
        if field.load:
            raise InvalidConfiguration(
                f'{field.name} tunes the load, and config_position = "{position}" is the service\'s',
                hint='write "env": the client gets it',
            )
        if position in found:
            raise InvalidConfiguration(
                f"{found[position]} and {field.name} are both written to `{position}`", hint="keep one of the two"
            )
        found[position] = field.name
    return {position: order.configuration[name] for position, name in found.items()}


def _unwritable(path: Path) -> list[Problem]:
    """config.json is replaced by a file that is made beside it and gets the same owner."""
    target = path.resolve()
    user = os.geteuid()
    if user not in (0, target.stat().st_uid):
        message = f"{target} belongs to user {target.stat().st_uid}, and an edited one would belong to {user}"
        return [Problem("mindie.config_path", message, f"chown it to user {user}: MindIE asks that of its files too")]
    if os.access(target, os.W_OK) and os.access(target.parent, os.W_OK | os.X_OK):
        return []
    return [
        Problem(
            "mindie.config_path",
            f"{target} or its directory cannot be written, and every launch changes it",
            "let the daemon's user write both; under systemd a drop-in with ReadWritePaths= too (`doctor --unit`)",
        )
    ]


def _model_problems(text: JsonText, workplace: Workplace) -> list[Problem]:
    path = weights_path(text.document)
    if not path:
        return [Problem("mindie.config_path", f"{text.source} has no {MODEL}.modelWeightPath", "give the model there")]
    found = program.model_problems(path, "mindie.config_path", workplace)
    return [Problem(each.key, f"the model of {text.source}: {each.message}", each.hint) for each in found]
