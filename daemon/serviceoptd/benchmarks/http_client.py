"""The base of clients of the common kind: a program that sends requests to host and port, and saves its result in a file.

A subclass says how its command line is made and how its file is read: `guidellm/` and `vllm_benchmark/` beside it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field as Bounded

from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.foreign_text import whole_number
from serviceopt_journal.metrics import Metrics
from serviceoptd.benchmarks.interface import ClientOutcome, MeasurementOrder, MeasurementPlan
from serviceoptd.domain.settings import Field
from serviceoptd.toolkit import arguments, endpoint, program, provenance
from serviceoptd.toolkit.interface import Options, Problem, ProcessOptions, Refusals, Workplace
from serviceoptd.toolkit.position_checks import refuse_dotted_positions
from serviceoptd.toolkit.secrets import mask_argv
from serviceoptd.toolkit.unreached import unreached, unreplaced

SEED = Field(name="SEED", dtype="int", load=True)
"""What `$SEED` stands for beside the target fields."""
RESULT = "result.json"
"""The file that the client writes below its measurement's directory, and that is kept with the journal."""


class HttpClientCommand(Options):
    """`[<client>.command]`: which service is asked, with how many requests, and further arguments."""

    host: str = "127.0.0.1"
    port: endpoint.Port = "port"
    model: str = "model_path"  # whose tokenizer counts the tokens
    served_model_name: str = "model_name"
    num_prompts: Annotated[int, Bounded(ge=1, le=10000)] = 1000
    others: arguments.Words = ""


class HttpClientSection(ProcessOptions):
    """The table `[<client>]` of a configuration."""

    command: HttpClientCommand = HttpClientCommand()


class HttpClient:
    """A client of one service. A subclass gives `name`, `usual_program`, `fixed_flags`, `words`, `read` and what it has."""

    name: ClassVar[str]
    section: ClassVar[type[Options]] = HttpClientSection
    defaults: ClassVar[Mapping[str, Any]] = {}
    usual_program: ClassVar[str]  # where `program` is not given
    packages: ClassVar[Sequence[str]] = ()  # Python packages whose versions are the program's; none: its file counts
    fixed_flags: ClassVar[Sequence[str]] = ()  # that the table and the load decide, whether they are given or not
    aliases: ClassVar[
        Mapping[str, str]
    ] = {}  # other spellings of a flag -> the usual one; `Spellings` knows beginnings too
    own_environment: ClassVar[Mapping[str, str]] = {}  # variables under those of the section
    relevant_variables: ClassVar[Sequence[str]] = ()  # as `NamesItsVariables`
    main_run: ClassVar[str] = ""  # as `MeasurementPlan.main_run`
    data_key: ClassVar[str] = "data"  # of `[<client>.command]`: where a data set that is not there is reported

    options: HttpClientSection

    def __init__(self, options: Mapping[str, Any]) -> None:
        validated = self.section.model_validate(options)
        if not isinstance(validated, HttpClientSection):
            raise TypeError(f"the section of client {self.name} must be derived from HttpClientSection")
        self.options = validated

    def words(self, order: MeasurementOrder, tuned: Sequence[str], others: Sequence[str]) -> list[str]:
        """The arguments behind the program: its own with the load of `order`, `tuned` (fields) and `others` (the user's)."""
        raise NotImplementedError

    def refuse(self, others: Sequence[str]) -> None:
        """Refuses what the client would do with `others` and nothing here can measure.

        Raises:
            InvalidConfiguration: such a thing is asked for.
        """

    def read(self, outcome: ClientOutcome) -> Metrics:
        """The metrics in seconds, tokens/s and requests/s, from `RESULT`.

        Raises:
            UnusableResult: as `Benchmark.read` says.
        """
        raise NotImplementedError

    def data(self, workplace: Workplace) -> Path | None:
        """The data set's file or directory; None where there is none, or it is on a hub."""
        return None

    def requests(self, workplace: Workplace) -> dict[str, str]:
        """What the measurement identity says of the requests, besides their number."""
        return {"data_content": self.data_content(workplace)}

    def count(self, order: MeasurementOrder) -> int:
        """The number of requests that are measured."""
        return min(order.sample or self.options.command.num_prompts, self.options.command.num_prompts)

    def plan(self, order: MeasurementOrder) -> MeasurementPlan:
        """The client's command line.

        Raises:
            InvalidConfiguration: the port is a placeholder, or a flag is given twice.
        """
        place, refusals = order.workplace, Refusals()
        with refusals.collected():
            refuse_dotted_positions([field for field in order.fields if field.load], self.name)
        values: dict[str, object] = {**order.configuration, "SEED": order.seed}
        environment = dict(self.own_environment)
        with refusals.collected():
            environment |= program.section_environment(self.options, place, values)
        environment |= arguments.field_environment(order.fields, order.configuration, load=True)
        others = words = arguments.split(self.options.command.others)
        with refusals.collected():
            arguments.refuse_unknown(words, values, f"[{self.name}.command] others")
        with refusals.collected():
            others = arguments.filled(words, values)
        others = self._without_decided(others, refusals)
        with refusals.collected():
            self.refuse(others)
        parts: dict[str, Sequence[str]] = {f"[{self.name}.command]": self.fixed_flags}
        for field in order.fields:
            parts[f"target_field {field.name}"] = arguments.field_arguments([field], order.configuration, load=True)
        argv = [self.executable]
        with refusals.collected():
            arguments.refuse_doubled({**parts, "others": others}, self.aliases)
            tuned = arguments.field_arguments(order.fields, order.configuration, load=True)
            argv += self.words(order, tuned, others)
        refusals.tell()
        return MeasurementPlan(
            command=program.command(argv, self.options, place, environment),
            num_prompts=self.count(order),
            artefacts={RESULT: place.directory / RESULT},
            main_run=self.main_run,
        )

    def problems(self, workplace: Workplace) -> list[Problem]:
        """A placeholder, a program, a model or a data set that is not there, a flag in `others` that the table decides."""
        given, prefix = self.options.command, f"{self.name}.command"
        problems = endpoint.port_problem(given.port, f"{prefix}.port")
        for key, placeholder, wanted in self.placeholders():
            problems += endpoint.placeholder_problem(getattr(given, key), placeholder, f"{prefix}.{key}", wanted)
        problems += program.model_problems(given.model, f"{prefix}.model", workplace)
        path = self.data(workplace)
        if path is not None and provenance.data_digest(path) == provenance.ABSENT:
            problems.append(Problem(f"{prefix}.{self.data_key}", f"{path} does not exist", "correct the path"))
        refusals = Refusals()
        others = self._without_decided(arguments.split(given.others), refusals)
        with refusals.collected():
            arguments.refuse_doubled({f"[{prefix}]": self.fixed_flags, "others": others}, self.aliases)
        try:
            refusals.tell()
        except InvalidConfiguration as error:
            problems.append(Problem(f"{prefix}.others", error.message, error.hint))
        return problems + program.program_problems(self.name, self.executable, self.options, workplace)

    def remarks(self, fields: Sequence[Field]) -> list[Problem]:
        """Fields of the load that are named like an option and reach nothing."""
        words = [*arguments.split(self.options.command.others), *self.options.environment.values()]
        found = unreached(fields, words, self.aliases, load=True, place=f"[{self.name}.command] others")
        return [*found, *unreplaced(self.options.environment, [*fields, SEED], self.name)]

    def placeholders(self) -> list[tuple[str, str, str]]:
        """Keys of the command that must be given: key, the value of the example configurations, what is wanted."""
        return [
            ("model", "model_path", "the model's directory, or its name on the hub (its tokenizer is needed)"),
            ("served_model_name", "model_name", "the name that the service gives the model"),
        ]

    def identity(self, workplace: Workplace) -> dict[str, str]:
        """Version, data and their hash, number of prompts, extra arguments, environment."""
        given = self.options.command
        own = provenance.safely_read_environment(self.options, workplace)
        return {
            "version": provenance.program_version(self.executable, workplace, self.packages),
            **self.requests(workplace),
            "num_prompts": str(given.num_prompts),
            "others": " ".join(mask_argv(arguments.split(given.others))),
            "environment": provenance.relevant_environment(workplace, own, self.relevant_variables),
        }

    def data_content(self, workplace: Workplace) -> str:
        """A digest of the data set; empty where there is none."""
        path = self.data(workplace)
        return "" if path is None else provenance.data_digest(path)

    def _without_decided(self, others: Sequence[str], refusals: Refusals) -> list[str]:
        """Refuses flags in `others` that are keys of the table, and names these keys; the other arguments."""
        keys: dict[str, str] = {}
        for word in others:
            flag = arguments.flag_of(word, self.aliases) or ""
            key = flag.removeprefix("--").replace("-", "_")
            if flag in self.fixed_flags and key in type(self.options.command).model_fields:
                keys[flag] = key
        if not keys:
            return list(others)
        table = f"[{self.name}.command]"
        values = {key: arguments.value_of(flag, others, self.aliases) or "..." for flag, key in keys.items()}
        shown = {key: value if whole_number(value) is not None else json.dumps(value) for key, value in values.items()}
        written = [f"`{key} = {value}`" for key, value in shown.items()]
        refused = InvalidConfiguration(
            f"{' and '.join(keys)} {'are' if len(keys) > 1 else 'is'} given twice: by {table} and by others",
            hint=f"write {', '.join(written)} in {table}, and leave it out of others",
        )
        refusals.add(refused)
        return arguments.without(keys, others, self.aliases)

    @property
    def executable(self) -> str:
        """The configured program, or the usual one."""
        return self.options.program or self.usual_program

    def address(self) -> tuple[str, int]:
        """Host and port of the service, as this machine reaches it.

        Raises:
            InvalidConfiguration: the port is still a placeholder.
        """
        given = self.options.command
        port = endpoint.port_number(given.port, f"{self.name}.command.port")
        return endpoint.reachable(given.host), port
