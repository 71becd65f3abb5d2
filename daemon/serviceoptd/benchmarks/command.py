"""Any benchmark client that a command line starts, described in `[command.client]`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.metric_table import ALL_LATENCIES, GENERATE_SPEED, GOODPUT, SUCCESS_RATE, LatencyName
from serviceopt_journal.metrics import Latency, Metrics, latency_fields
from serviceoptd.benchmarks.interface import ClientOutcome, MeasurementOrder, MeasurementPlan
from serviceoptd.benchmarks.result_checks import believe, ended_well, result_in
from serviceoptd.benchmarks.vllm_benchmark.flags import SPELLINGS
from serviceoptd.engines.command.section import CommandClient, CommandSection
from serviceoptd.toolkit import arguments, endpoint, program, provenance
from serviceoptd.toolkit.extraction import at, found_in, json_in, kind_of, quantity
from serviceoptd.toolkit.interface import Options, Problem, Refusals, UnusableResult, Workplace
from serviceoptd.toolkit.position_checks import refuse_dotted_positions
from serviceoptd.toolkit.secrets import mask_argv

GIVEN_BY_THE_TABLE = ("HOST", "PORT", "MODEL", "DATASET", "RESULT_FILE")


class CommandBenchmark:
    """The client of `[command.client]`; its numbers by JSON path or regular expression, each with its unit."""

    name: ClassVar[str] = "command"
    section: ClassVar[type[Options]] = CommandSection
    defaults: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = CommandSection.of(options)

    def plan(self, order: MeasurementOrder) -> MeasurementPlan:
        """The command line with every `$NAME` replaced; a load that is not limited counts as empty.

        Raises:
            InvalidConfiguration: the table is missing, a name in it has no value, or a flag is given twice.
        """
        client, place, refusals = self._client(), order.workplace, Refusals()
        with refusals.collected():
            refuse_dotted_positions([field for field in order.fields if field.load], self.name)
        values = self._values(order)
        environment: dict[str, str] = {}
        with refusals.collected():
            environment = program.section_environment(client, place, values)
        environment |= arguments.field_environment(order.fields, order.configuration, load=True)
        given = [client.program, *client.argv[1:]] if client.program else list(client.argv)
        if not arguments.runs_a_shell(given):
            with refusals.collected():
                arguments.refuse_unknown(given, {*values, *GIVEN_BY_THE_TABLE}, "[command.client] argv")
        words = list(given)
        with refusals.collected():
            words = arguments.filled(given, values)
        for missing in arguments.references(words, GIVEN_BY_THE_TABLE):
            without = f"${missing} in [command.client] argv has no value"
            refusals.add(InvalidConfiguration(without, hint=f"give {missing.lower()} there"))
        parts: dict[str, Sequence[str]] = {"[command.client] argv": words}
        for field in order.fields:
            parts[f"target_field {field.name}"] = arguments.field_arguments([field], order.configuration, load=True)
        with refusals.collected():
            arguments.refuse_doubled(parts, SPELLINGS if _is_vllms(words) else None)
        refusals.tell()
        words += arguments.field_arguments(order.fields, order.configuration, load=True)
        file = self._result_file(place)
        return MeasurementPlan(
            command=program.command(words, client, place, environment),
            num_prompts=_count(order, client),
            artefacts={file.name: file} if file else None,
        )

    def read(self, outcome: ClientOutcome) -> Metrics:
        """Reads the metrics from the result file or the standard output.

        Raises:
            UnusableResult: there are none, or they cannot be believed.
        """
        ended_well(outcome)
        file = self._result_file(outcome.order.workplace)
        text = result_in(file or outcome.output, outcome).decode(errors="replace")
        numbers = self._numbers(text)
        return believe(_metrics(numbers, outcome.plan.num_prompts), outcome.order.objective)

    def problems(self, workplace: Workplace) -> list[Problem]:
        """What a measurement lacks, with the key that is to blame."""
        client, prefix = self.options.client, "command.client"
        if client is None:
            return [
                Problem(
                    prefix,
                    "is missing",
                    "give at least `argv` and `metrics`: `serviceoptctl docs engines#command`",
                )
            ]
        problems = [] if client.port is None else endpoint.port_problem(client.port, f"{prefix}.port")
        problems += program.missing_files([client.dataset] if client.dataset else [], f"{prefix}.dataset", workplace)
        problems += program.missing_files(client.identity_files, f"{prefix}.identity_files", workplace)
        return problems + program.program_problems(prefix, client.program or client.argv[0], client, workplace)

    def identity(self, workplace: Workplace) -> dict[str, str]:
        """Program, arguments as they are written, data set and files with their digests, number of prompts."""
        client = self._client()
        own = provenance.safely_read_environment(client, workplace)
        sources = {name: source.model_dump(exclude_none=True) for name, source in sorted(client.metrics.items())}
        return {
            "version": client.version or provenance.program_version(client.program or client.argv[0], workplace, ()),
            "argv": " ".join(mask_argv(client.argv)),
            "dataset": provenance.files_identity([client.dataset] if client.dataset else [], workplace),
            "files": provenance.files_identity(client.identity_files, workplace),
            "num_prompts": str(client.num_prompts),
            "metrics": str(sources),
            "environment": provenance.relevant_environment(workplace, own, self.relevant_variables),
        }

    @property
    def relevant_variables(self) -> Sequence[str]:
        """`identity_variables` of the table."""
        return self.options.client.identity_variables if self.options.client else ()

    def _client(self) -> CommandClient:
        if self.options.client is None:
            raise InvalidConfiguration(
                "[command.client] is missing",
                hint="give at least `argv` and `metrics` there: `serviceoptctl docs engines#command`",
            )
        return self.options.client

    def _result_file(self, workplace: Workplace) -> Path | None:
        name = self._client().result_file
        return workplace.directory / name if name else None

    def _values(self, order: MeasurementOrder) -> dict[str, object]:
        client, service, place = self._client(), self.options.service, order.workplace
        host = client.host or (service.host if service else None)
        port = client.port if client.port is not None else service.port if service else None
        model = client.model or (service.model if service else None)
        unlimited = ""
        values: dict[str, object] = {
            **order.configuration,
            "CONCURRENCY": unlimited if order.concurrency is None else order.concurrency,
            "REQUESTRATE": unlimited if order.request_rate is None else order.request_rate,
            "SEED": order.seed,
            "NUM_PROMPTS": _count(order, client),
            "WARM_UP": min(order.warm_up_requests, _count(order, client)),
            "RESULT_DIR": str(place.directory),
        }
        values["MAXCONCURRENCY"] = values["CONCURRENCY"]
        if host:
            values["HOST"] = endpoint.reachable(host)
        if port is not None:
            values["PORT"] = endpoint.port_number(port, "port of [command]")
        if model:
            values["MODEL"] = program.located_model(model, place)
        if client.dataset:
            values["DATASET"] = str(place.working_directory / program.located(client.dataset, place))
        if file := self._result_file(place):
            values["RESULT_FILE"] = str(file)
        return values

    def _numbers(self, text: str) -> dict[str, float]:
        sources = self._client().metrics
        document = json_in(text) if any(source.path for source in sources.values()) else None
        numbers: dict[str, float] = {}
        for name, source in sources.items():
            raw = at(document, source.path) if source.path else found_in(text, source.pattern or "")
            numbers[name] = quantity(raw, source.unit, kind_of(name), name)
        return numbers


def _is_vllms(words: Sequence[str]) -> bool:
    return ("bench", "serve") in itertools.pairwise(words)


def _metrics(numbers: Mapping[str, float], num_prompts: int) -> Metrics:
    sent = numbers.get("num_prompts", num_prompts)
    if sent != num_prompts:
        raise UnusableResult(
            f"the result belongs to another measurement: it counts {sent:g}requests, expected {num_prompts}"
        )
    completed, failed = _counts(numbers, num_prompts)
    duration = numbers.get("duration")
    if duration == 0:
        raise UnusableResult("duration is 0 s")
    throughput = numbers["throughput"] if duration is None else numbers.get("throughput", completed / duration)
    speed = numbers.get(GENERATE_SPEED)
    if speed is None:
        speed = numbers["output_tokens"] / numbers["duration"]
    if duration is None:
        duration = completed / throughput if throughput else 0.0
    latencies: dict[LatencyName, Latency] = {name: {} for name in ALL_LATENCIES}
    for name, value in numbers.items():
        metric, dot, statistic = name.partition(".")
        if dot:
            latencies[cast(LatencyName, metric)]["p50" if statistic == "median" else statistic] = value
    return Metrics(
        generate_speed=speed,
        throughput=throughput,
        success_rate=completed / num_prompts,
        completed=completed,
        failed=failed,
        duration=duration,
        **latency_fields(latencies),
        goodput=numbers.get(GOODPUT),
        input_tokens=round(numbers["input_tokens"]) if "input_tokens" in numbers else None,
        output_tokens=round(numbers["output_tokens"]) if "output_tokens" in numbers else None,
    )


def _counts(numbers: Mapping[str, float], sent: int) -> tuple[int, int]:
    """Completed and failed requests, from those of the two and the success rate that the client tells."""
    told = [numbers[name] for name in ("completed", "failed") if name in numbers]
    if any(not value.is_integer() for value in told):
        raise UnusableResult(f"the counts of requests are not whole numbers: {told}")
    completed = numbers.get("completed")
    if completed is None:
        completed = sent - numbers["failed"] if "failed" in numbers else numbers[SUCCESS_RATE] * sent
    failed = numbers.get("failed", sent - completed)
    if not 0 <= completed <= sent or round(completed + failed) != sent:
        raise UnusableResult(
            f"the counts do not add up: {completed:g} completed + {failed:g} failed are not {sent} sent"
        )
    return round(completed), sent - round(completed)


def _count(order: MeasurementOrder, client: CommandClient) -> int:
    """The requests that are sent: the sample, or all of them where it is no smaller."""
    return min(order.sample or client.num_prompts, client.num_prompts)
