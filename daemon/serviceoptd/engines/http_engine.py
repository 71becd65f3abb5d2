"""The base of engines of the common kind: a program with flags for host, port and model, ready when a GET answers 200.

A subclass names its program, its flags and its pages, and says what is its own: `vllm.py` and `sglang.py` beside it, and
the example of docs/plugins.md. Whatever is not of this kind implements the interface by itself (`command/`, `mindie/`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from math import prod
from typing import Any, ClassVar

from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.events import Configuration
from serviceopt_journal.foreign_text import whole_number
from serviceoptd.domain.settings import LOAD_NAMES, Field, ModelFacts
from serviceoptd.domain.space.model_options import changes_the_model, quantises
from serviceoptd.engines.interface import ServiceOrder, ServicePlan, Survey
from serviceoptd.toolkit import arguments, config_file, endpoint, program, provenance
from serviceoptd.toolkit.interface import (
    HttpProbe,
    MetricsPage,
    Options,
    Problem,
    ProcessOptions,
    Refusals,
    Workplace,
    render,
)
from serviceoptd.toolkit.model_facts import model_facts
from serviceoptd.toolkit.position_checks import refuse_dotted_positions, refuse_searched_service, refuse_unanswerable
from serviceoptd.toolkit.secrets import mask_argv
from serviceoptd.toolkit.unreached import unreached, unreplaced


class HttpCommand(Options):
    """`[<engine>.command]`: where the service listens, what it serves, and further arguments."""

    host: str = "127.0.0.1"
    port: endpoint.Port = "port"
    model: str = "model_path"
    served_model_name: str = "model_name"
    others: arguments.Words = ""


class HttpSection(ProcessOptions):
    """The table `[<engine>]` of a configuration."""

    command: HttpCommand = HttpCommand()


class HttpEngine:
    """A service behind one port. A subclass gives `name`, `usual_program` and `fixed_arguments`, and what else it has."""

    name: ClassVar[str]
    section: ClassVar[type[Options]] = HttpSection
    defaults: ClassVar[Mapping[str, Any]] = {}
    usual_program: ClassVar[str]  # where `program` is not given
    packages: ClassVar[Sequence[str]] = ()  # Python packages whose versions are the program's; none: its file counts
    field_flags: ClassVar[Mapping[str, str]] = {}  # `env` fields that become flags too: "MAX_NUM_SEQS" -> "--max-..."
    relevant_variables: ClassVar[Sequence[str]] = ()  # as `NamesItsVariables`
    aliases: ClassVar[
        Mapping[str, str]
    ] = {}  # other spellings of a flag -> the usual one; `Spellings` knows beginnings too
    parallel_flags: ClassVar[Sequence[str]] = ()  # the product of their values is the number of accelerators
    never_answers: ClassVar[Mapping[str, str]] = {}  # options without a readiness check, as `refuse_unanswerable` says
    ready_path: ClassVar[str] = "/health"  # answers 200 when the service can be measured
    report_path: ClassVar[str] = ""  # its text tells the KV-cache blocks; "": there is none
    reset_path: ClassVar[str] = ""  # a POST forgets cached prefixes; "": that is not offered
    metrics_path: ClassVar[str] = "/metrics"
    series: ClassVar[Mapping[str, Sequence[str]]] = {}  # of that page, as `MetricsPage` says; none: it is not read

    options: HttpSection

    def __init__(self, options: Mapping[str, Any]) -> None:
        validated = self.section.model_validate(options)
        if not isinstance(validated, HttpSection):
            raise TypeError(f"the section of engine {self.name} must be derived from HttpSection")
        self.options = validated

    def fixed_arguments(self, model: str, port: int) -> list[str]:
        """What stands between the program and the tuned flags: the model, the name that it is served by, host and port.

        `model` is the configured one, made absolute where it is a path.
        """
        raise NotImplementedError

    def refuse(self, values: Mapping[str, object], argv: Sequence[str]) -> None:
        """Refuses what the program would refuse after a long start. `values`: parameters of the service, by name; `argv`:
        its arguments, after those of its own `--config FILE`.

        Raises:
            InvalidConfiguration: such a combination is asked for.
        """

    def plan(self, order: ServiceOrder) -> ServicePlan:
        """The command line and its signs of life.

        Raises:
            InvalidConfiguration: the port is a placeholder, a flag is given twice, a load is among the service's
                arguments, its `--config FILE` is broken, or `refuse` knows better.
        """
        ready, refusals = self.probe(self.ready_path), Refusals()
        report = self.probe(self.report_path) if self.report_path else None
        with refusals.collected():
            refuse_dotted_positions(order.fields, self.name)
        if not order.managed:
            with refusals.collected():
                refuse_searched_service(order.fields, self.name)
            refusals.tell()
            return ServicePlan(command=None, ready=ready, report=report, metrics=self._metrics_page())
        values, stop = service_values(order), None
        environment = arguments.field_environment(order.fields, order.configuration, load=False)
        with refusals.collected():
            environment = program.section_environment(self.options, order.workplace, values) | environment
        argv = every = self._argv(order, values, refusals)
        with refusals.collected():
            every = self.every_option(argv, order.workplace)
        with refusals.collected():
            refuse_unanswerable(every, self.never_answers, self.name, self.aliases)
        with refusals.collected():
            self.refuse(values, every)
        with refusals.collected():
            stop = program.stop_command(self.options, order.workplace, environment, values)
        refusals.tell()
        return ServicePlan(
            command=program.command(argv, self.options, order.workplace, environment),
            ready=ready,
            listens_on=(self.options.command.host, ready.port),
            stop=stop,
            reset_cache=self.probe(self.reset_path, "POST") if self.reset_path else None,
            report=report,
            metrics=self._metrics_page(),
            devices=self._accelerators(every, order.configuration) if len(every) > len(argv) else None,
        )

    def problems(self, workplace: Workplace, managed: bool = True) -> list[Problem]:
        """A placeholder, a program or a model that is not there; of a service that somebody else runs its port alone."""
        given, prefix = self.options.command, f"{self.name}.command"
        problems = endpoint.port_problem(given.port, f"{prefix}.port")
        if not managed:
            return problems
        for key, placeholder, wanted in (
            ("model", "model_path", "the model's directory, or its name on the hub"),
            ("served_model_name", "model_name", "the name that clients ask for"),
        ):
            problems += endpoint.placeholder_problem(getattr(given, key), placeholder, f"{prefix}.{key}", wanted)
        problems += program.model_problems(given.model, f"{prefix}.model", workplace)
        return problems + program.program_problems(self.name, self.executable, self.options, workplace)

    def identity(self, workplace: Workplace) -> dict[str, str]:
        """Versions, model, fixed arguments and environment."""
        own = provenance.safely_read_environment(self.options, workplace)
        return {
            "version": provenance.program_version(self.executable, workplace, self.packages),
            "model": provenance.model_identity(self.options.command.model, workplace),
            "others": " ".join(mask_argv(self._others())),
            "environment": provenance.relevant_environment(workplace, own, self.relevant_variables),
            **config_file.content(self._others(), self.aliases, workplace, self.options.working_directory),
        }

    def surveyed(self, fields: Sequence[Field], workplace: Workplace, guidance: Mapping[str, Any]) -> Survey:
        """The fields as they are; a remark where the engine's own `--config FILE` cannot be read."""
        place, directory = f"{self.name}.command.others", self.options.working_directory
        told = config_file.unread(self._others(), self.aliases, workplace, working_directory=directory, key=place)
        return Survey(tuple(fields), told)

    def remarks(self, fields: Sequence[Field]) -> list[Problem]:
        """Fields that are named like an option and reach nothing."""
        left = [field for field in fields if self._flag_of(field) is None]
        place = f"[{self.name}.command] others"
        found = unreached(left, self._all_words(), self.aliases, load=False, place=place)
        return [*found, *unreplaced(self.options.environment, fields, self.name)]

    def kv_blocks(self, report: str) -> int | None:
        """Gives None: nothing is known of a cache, unless a subclass reads it."""
        return None

    def devices(self, configuration: Configuration, fields: Sequence[Field] = ()) -> int:
        """The product of the parallel sizes, from flags in `others`, `argument:` fields or fields of that name."""
        words = arguments.filled(self._others(), configuration)
        words += arguments.field_arguments(fields, configuration, load=False)
        return self._accelerators(words, configuration)

    def every_option(self, words: Sequence[str], workplace: Workplace) -> list[str]:
        """The arguments, after those of the file that they name with `--config`."""
        return config_file.with_config_file(words, self.aliases, workplace, self.options.working_directory)

    def _accelerators(self, words: Sequence[str], configuration: Configuration) -> int:
        flags = {"--" + name.lower().replace("_", "-"): render(value) for name, value in configuration.items()}
        named = {self.aliases.get(flag, flag): value for flag, value in flags.items()}
        sizes = (named.get(flag, arguments.value_of(flag, words, self.aliases) or "1") for flag in self.parallel(words))
        return prod(max(1, whole_number(size) or 1) for size in sizes)

    def parallel(self, words: Sequence[str]) -> Sequence[str]:
        """The flags that multiply the accelerators, given these arguments."""
        return self.parallel_flags

    @property
    def executable(self) -> str:
        """The configured program, or the usual one."""
        return self.options.program or self.usual_program

    def probe(self, path: str, method: str = "GET") -> HttpProbe:
        """A request to the service, sent from this machine.

        Raises:
            InvalidConfiguration: the port is still a placeholder.
        """
        given = self.options.command
        port = endpoint.port_number(given.port, f"{self.name}.command.port")
        return HttpProbe(endpoint.reachable(given.host), port, path, method)

    def _metrics_page(self) -> MetricsPage | None:
        return MetricsPage(self.probe(self.metrics_path), self.series) if self.series else None

    def described(
        self, workplace: Workplace, *, changing: Set[str], quantising: Set[str], needs_a_whole_sequence: bool
    ) -> ModelFacts:
        """What a subclass answers as `model_facts` (`Describing`): the options in `others`, and facts of the model.

        With one of the options `changing`, the model's directory does not tell what lies in the devices' memory, and the
        facts are left out; one of `quantising` says that its weights shrink while they are loaded.
        `needs_a_whole_sequence`: the engine does not start where its cache is smaller than the longest sequence.
        """
        words = self._others()
        given = arguments.options(self.every_option(words, workplace), self.aliases)
        named = {name.partition(".")[0] for name in given}
        if changing & named or changes_the_model(given) or arguments.hides_flags(words):
            return ModelFacts(arguments=given)
        directory = workplace.working_directory / program.located(self.options.command.model, workplace)
        quantised_here = bool(quantising & named) or quantises(given)
        return model_facts(
            directory, given, needs_a_whole_sequence=needs_a_whole_sequence, quantised_here=quantised_here
        )

    def _argv(self, order: ServiceOrder, values: Mapping[str, object], refusals: Refusals) -> list[str]:
        given, place = self.options.command, f"[{self.name}.command] others"
        port = endpoint.port_number(given.port, f"{self.name}.command.port")
        fixed = self.fixed_arguments(program.located_model(given.model, order.workplace), port)
        others = words = self._others()
        for used in arguments.references(words, LOAD_NAMES):
            why = "the service keeps running when its load changes"
            refusals.add(InvalidConfiguration(f"${used} in {place}: {why}", hint="use it in the client's `others`"))
        with refusals.collected():
            arguments.refuse_unknown(words, {*values, *LOAD_NAMES}, place)
        with refusals.collected():
            others = arguments.filled(words, values)
        tuned = {f"target_field {field.name}": self._flag(field, order.configuration) for field in order.fields}
        with refusals.collected():
            arguments.refuse_doubled({f"[{self.name}.command]": fixed, **tuned, "others": others}, self.aliases)
        return [self.executable, *fixed, *(word for words in tuned.values() for word in words), *others]

    def _flag(self, field: Field, configuration: Configuration) -> list[str]:
        """How one parameter reaches the command line, if it does."""
        if field.config_position != "env":
            return arguments.field_arguments([field], configuration, load=False)
        flag = self._flag_of(field)
        if flag is None or field.load or field.name not in configuration:
            return []
        return arguments.rendered_flag(flag, configuration[field.name])

    def _flag_of(self, field: Field) -> str | None:
        """The flag that a field becomes by its name; in small letters only where no argument refers to it."""
        if flag := self.field_flags.get(field.name):
            return flag
        referred = arguments.references(self._all_words(), arguments.with_capitals({field.name: None}))
        return None if referred else self.field_flags.get(field.name.upper())

    def _all_words(self) -> list[str]:
        """Everything in which `$NAME` is replaced."""
        given = self.options
        return [*self._others(), *given.environment.values(), *(given.stop_command or ())]

    def _others(self) -> list[str]:
        return arguments.split(self.options.command.others)


def service_values(order: ServiceOrder) -> dict[str, object]:
    """The parameters of the service by name: those of the configuration that are no load."""
    load = {field.name for field in order.fields if field.load} | LOAD_NAMES
    return {name: value for name, value in order.configuration.items() if name not in load}
