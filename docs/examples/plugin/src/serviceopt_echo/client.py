"""The client `echo_load`: how the load is set, where the result is, and when it is not believed."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field as Bounded

from serviceopt_journal.metrics import Metrics
from serviceoptd.benchmarks.interface import ClientOutcome, MeasurementOrder, MeasurementPlan
from serviceoptd.benchmarks.result_checks import believe, ended_well, result_in
from serviceoptd.toolkit import arguments, endpoint, program, provenance
from serviceoptd.toolkit.interface import Options, Problem, ProcessOptions, UnusableResult, Workplace

LOAD = Path(__file__).with_name("load.py")
RESULT = "result.json"


class EchoLoadSection(ProcessOptions):
    """`[echo_load]`."""

    host: str = "127.0.0.1"
    port: endpoint.Port = 8123
    num_prompts: int = Bounded(default=60, ge=1, le=10000)


class EchoLoad:
    """Sends prompts, so many at a time, and saves what each request took."""

    name: ClassVar[str] = "echo_load"
    section: ClassVar[type[Options]] = EchoLoadSection
    defaults: ClassVar[Mapping[str, Any]] = {
        # a field of a client tunes the load: the service goes on running when it changes
        "target_field": [{"name": "KEEP_ALIVE", "config_position": "argument:--keep-alive", "dtype": "bool"}]
    }

    relevant_variables: ClassVar[Sequence[str]] = provenance.OF_EVERY_PROGRAM

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = EchoLoadSection.model_validate(options)

    def plan(self, order: MeasurementOrder) -> MeasurementPlan:
        """The command line of the load. Every measurement sends other prompts: they follow from the seed."""
        given, place = self.options, order.workplace
        num_prompts = min(order.sample or given.num_prompts, given.num_prompts)
        argv = [given.program or sys.executable, str(LOAD), "--host", endpoint.reachable(given.host)]
        argv += ["--port", str(endpoint.port_number(given.port, "echo_load.port"))]
        argv += ["--num-prompts", str(num_prompts), "--warm-up", str(min(order.warm_up_requests, num_prompts))]
        argv += ["--concurrency", str(order.concurrency or num_prompts), "--seed", str(order.seed)]
        argv += ["--result", str(place.directory / RESULT)]
        fields = {
            field.name: arguments.field_arguments([field], order.configuration, load=True) for field in order.fields
        }
        arguments.refuse_doubled({"the client": argv, **fields})
        argv += [word for words in fields.values() for word in words]
        environment = program.section_environment(given, place, order.configuration)
        return MeasurementPlan(
            command=program.command(argv, given, place, environment),
            num_prompts=num_prompts,
            artefacts={RESULT: place.directory / RESULT},
        )

    def read(self, outcome: ClientOutcome) -> Metrics:
        """The metrics in seconds, tokens/s and requests/s.

        Raises:
            UnusableResult: no result, a cut-off one, or one of another measurement.
        """
        ended_well(outcome)
        path = outcome.order.workplace.directory / RESULT
        content = result_in(path, outcome)
        try:
            told = json.loads(content)
            seconds, failed = float(told["seconds"]), int(told["failed"])
            requests, seed = list(told["requests"]), int(told["seed"])
        except (ValueError, KeyError, TypeError) as error:
            raise UnusableResult(f"{path.name} is not what load.py writes: {error!r}") from error
        if seed != outcome.order.seed:
            raise UnusableResult(
                f"the result belongs to another measurement: its seed is {seed}, not {outcome.order.seed}"
            )
        if not requests or not seconds > 0:
            raise UnusableResult(f"none of {failed} requests completed")
        tokens = sum(request["tokens"] for request in requests)
        metrics = Metrics(
            generate_speed=tokens / seconds,
            throughput=len(requests) / seconds,
            success_rate=len(requests) / (len(requests) + failed),
            completed=len(requests),
            failed=failed,
            duration=seconds,
            ttft=_statistics([request["ttft"] for request in requests]),
            tpot=_statistics([(r["e2el"] - r["ttft"]) / (r["tokens"] - 1) for r in requests]),
            e2el=_statistics([request["e2el"] for request in requests]),
            output_tokens=tokens,
        )
        return believe(metrics, outcome.order.objective)

    def problems(self, workplace: Workplace) -> list[Problem]:
        """A program or a working directory that is not there."""
        python = self.options.program or sys.executable
        wrong_port = endpoint.port_problem(self.options.port, "echo_load.port")
        return wrong_port + program.program_problems(self.name, python, self.options, workplace)

    def identity(self, workplace: Workplace) -> dict[str, str]:
        """Results are reused only where all of this is equal."""
        return {"num_prompts": str(self.options.num_prompts)}


def _statistics(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    ranks = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
    percentiles = {name: ordered[round(rank * (len(ordered) - 1))] for name, rank in ranks.items()}
    return {"mean": sum(ordered) / len(ordered), "max": ordered[-1], **percentiles}
