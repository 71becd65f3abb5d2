"""Any service that a command line starts, described in `[command.service]`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, ClassVar
from urllib.parse import urlsplit

from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.events import Configuration
from serviceopt_journal.foreign_text import whole_number
from serviceoptd.domain.settings import LOAD_NAMES, Field
from serviceoptd.engines.command.section import CommandSection, CommandService
from serviceoptd.engines.command.spellings import known_program, refuse_unanswered
from serviceoptd.engines.interface import ServiceOrder, ServicePlan, Survey
from serviceoptd.toolkit import arguments, config_file, endpoint, program, provenance
from serviceoptd.toolkit.interface import HttpProbe, LogProbe, Options, Problem, Refusals, Workplace
from serviceoptd.toolkit.position_checks import refuse_dotted_positions, refuse_searched_service
from serviceoptd.toolkit.secrets import mask_argv
from serviceoptd.toolkit.unreached import unreached


class CommandEngine:
    """The service of `[command.service]`; `$NAME` of every service field, $HOST, $PORT and $MODEL in its arguments."""

    name: ClassVar[str] = "command"
    section: ClassVar[type[Options]] = CommandSection
    defaults: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = CommandSection.of(options)

    def plan(self, order: ServiceOrder) -> ServicePlan:
        """The command line with every `$NAME` replaced.

        Raises:
            InvalidConfiguration: as the interface says.
        """
        service, refusals = self._service(), Refusals()
        with refusals.collected():
            refuse_dotted_positions(order.fields, self.name)
        ready = (
            LogProbe(service.ready_log)
            if service.ready_log is not None
            else self._probe(service.ready_url, status=service.ready_status)
        )
        report = self._probe(service.report_url)
        reset = self._probe(service.reset_url, method="POST")
        if not order.managed:
            with refusals.collected():
                refuse_searched_service(order.fields, self.name)
            if isinstance(ready, LogProbe):
                unread = "the log of a service that serviceopt did not start cannot be read"
                refusals.add(InvalidConfiguration(unread, hint="give ready_url instead"))
            refusals.tell()
            return ServicePlan(command=None, ready=ready, reset_cache=reset, report=report)
        values, stop = self._values(order), None
        environment = arguments.field_environment(order.fields, order.configuration, load=False)
        with refusals.collected():
            environment = program.section_environment(service, order.workplace, values) | environment
        argv = self._argv(order, values, refusals)
        if isinstance(ready, HttpProbe):
            with refusals.collected():
                refuse_unanswered(argv, None if service.port is None else self._port(service), ready)
        with refusals.collected():
            stop = program.stop_command(service, order.workplace, environment, values)
        refusals.tell()
        return ServicePlan(
            command=program.command(argv, service, order.workplace, environment),
            ready=ready,
            listens_on=None if service.port is None else (service.host, self._port(service)),
            stop=stop,
            reset_cache=reset,
            report=report,
        )

    def problems(self, workplace: Workplace, managed: bool = True) -> list[Problem]:
        """What a launch lacks, with the key that is to blame.

        `managed` false: nothing that only a launch needs is asked for.
        """
        service, prefix = self.options.service, "command.service"
        if service is None:
            return [
                Problem(
                    prefix,
                    "is missing",
                    "give at least `argv` and `ready_url` or `ready_log`: `serviceoptctl docs engines#command`",
                )
            ]
        problems = [] if service.port is None else endpoint.port_problem(service.port, f"{prefix}.port")
        if not managed:
            return problems
        problems += program.model_problems(service.model, f"{prefix}.model", workplace)
        problems += program.missing_files(service.identity_files, f"{prefix}.identity_files", workplace)
        if not service.argv and service.program is None:
            return [*problems, Problem(f"{prefix}.argv", "is empty", "give the command line that starts the service")]
        return problems + program.program_problems(prefix, service.program or service.argv[0], service, workplace)

    def identity(self, workplace: Workplace) -> dict[str, str]:
        """Program, arguments as they are written, model, files and environment."""
        service = self._service()
        executable = service.program or (service.argv[0] if service.argv else "")
        own = provenance.safely_read_environment(service, workplace)
        words, spellings = known_program(service.argv)
        return {
            "version": service.version or (provenance.program_version(executable, workplace, ()) if executable else ""),
            "argv": " ".join(mask_argv(service.argv)),
            "model": provenance.model_identity(service.model, workplace) if service.model else "",
            "files": provenance.files_identity(service.identity_files, workplace),
            "environment": provenance.relevant_environment(workplace, own, self.relevant_variables),
            **(config_file.content(words, spellings, workplace, service.working_directory) if spellings else {}),
        }

    def surveyed(self, fields: Sequence[Field], workplace: Workplace, guidance: Mapping[str, Any]) -> Survey:
        """The fields as they are; a remark where the `--config FILE` of a program that is known cannot be read."""
        service = self._service()
        words, spellings = known_program(service.argv)
        if not spellings:
            return Survey(tuple(fields))
        told = config_file.unread(
            words, spellings, workplace, working_directory=service.working_directory, key="command.service.argv"
        )
        return Survey(tuple(fields), told)

    @property
    def relevant_variables(self) -> Sequence[str]:
        """`identity_variables` of the table."""
        return self.options.service.identity_variables if self.options.service else ()

    def remarks(self, fields: Sequence[Field]) -> list[Problem]:
        """Fields that are named like a flag in `argv`, or of the program where it is known, and reach nothing."""
        service = self._service()
        words = [*service.argv, *service.environment.values(), *(service.stop_command or ())]
        words += [str(item) for item in (service.devices if isinstance(service.devices, list) else [service.devices])]
        own, spellings = known_program(service.argv)
        flags = {flag: flag for word in own if (flag := arguments.flag_of(word, spellings))}
        place = "[command.service] argv"
        found = unreached(fields, words, spellings or flags, load=False, place=place)
        return found or unreached(fields, words, flags, load=False, place=place)

    def kv_blocks(self, report: str) -> int | None:
        """The number that `kv_blocks_pattern` finds."""
        pattern = self._service().kv_blocks_pattern
        found = re.search(pattern, report, re.MULTILINE) if pattern else None
        return whole_number(found[1] or "") if found else None

    def devices(self, configuration: Configuration, fields: Sequence[Field] = ()) -> int:
        """`devices`, with `$NAME` replaced; several numbers are multiplied."""
        given = self._service().devices
        numbers = [
            arguments.replaced(str(item), configuration) for item in (given if isinstance(given, list) else [given])
        ]
        return prod(max(1, whole_number(number) or 1) for number in numbers)

    def _service(self) -> CommandService:
        if self.options.service is None:
            raise InvalidConfiguration(
                "[command.service] is missing",
                hint="give at least `argv` and `ready_url` or `ready_log` there: `serviceoptctl docs engines#command`",
            )
        return self.options.service

    def _port(self, service: CommandService) -> int:
        return endpoint.port_number(service.port if service.port is not None else "", "command.service.port")

    def _probe(self, url: str | None, *, method: str = "GET", status: int = 200) -> HttpProbe | None:
        if url is None:
            return None
        service = self._service()
        if url.startswith("/"):
            return HttpProbe(endpoint.reachable(service.host), self._port(service), url, method, status)
        parts = urlsplit(url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return HttpProbe(parts.hostname or "", parts.port or 80, path, method, status)

    def _values(self, order: ServiceOrder) -> dict[str, object]:
        service = self._service()
        load = {field.name for field in order.fields if field.load} | LOAD_NAMES
        values: dict[str, object] = {n: value for n, value in order.configuration.items() if n not in load}
        values |= {"HOST": service.host, "WORKPLACE": str(order.workplace.directory)}
        if service.port is not None:
            values["PORT"] = self._port(service)
        if service.model:
            values["MODEL"] = program.located_model(service.model, order.workplace)
        return values

    def _argv(self, order: ServiceOrder, values: Mapping[str, object], refusals: Refusals) -> list[str]:
        service, place = self._service(), "[command.service] argv"
        given = [service.program, *service.argv[1:]] if service.program else service.argv
        if not given:
            refusals.add(InvalidConfiguration(f"{place} is empty", hint="give the command line"))
            return []
        if not arguments.runs_a_shell(given):
            named = {*values, *LOAD_NAMES, "PORT", "MODEL"}  # those have messages of their own
            with refusals.collected():
                arguments.refuse_unknown(given, named, place)
        words = list(given)
        with refusals.collected():
            words = arguments.filled(given, values)
        for used in arguments.references(words, [*LOAD_NAMES, "PORT", "MODEL"]):
            why = "the service keeps running when its load changes" if used in LOAD_NAMES else "it has no value"
            refusals.add(InvalidConfiguration(f"${used} in {place}: {why}"))
        parts: dict[str, Sequence[str]] = {place: words}
        for field in order.fields:
            parts[f"target_field {field.name}"] = arguments.field_arguments([field], order.configuration, load=False)
        own, spellings = known_program(words)
        with refusals.collected():
            arguments.refuse_doubled(parts)
        with refusals.collected():
            arguments.refuse_doubled({**parts, place: own}, spellings)
        return [*words, *arguments.field_arguments(order.fields, order.configuration, load=False)]
