"""The engine `echo`: how the service is started, when it is ready, and what a measured value depends on."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field as Bounded

from serviceopt_journal.events import Configuration
from serviceoptd.domain.settings import Field
from serviceoptd.engines.interface import ServiceOrder, ServicePlan
from serviceoptd.toolkit import arguments, endpoint, program, provenance
from serviceoptd.toolkit.interface import HttpProbe, Options, Problem, ProcessOptions, Workplace
from serviceoptd.toolkit.position_checks import refuse_dotted_positions, refuse_searched_service

SERVER = Path(__file__).with_name("server.py")


class EchoSection(ProcessOptions):
    """`[echo]`: the keys of every process (`program`, `environment`, ...) and these."""

    host: str = "127.0.0.1"
    port: endpoint.Port = 8123
    answer_ms: float = Bounded(default=4.0, gt=0)  # of one worker, for one request
    worker_mb: float = Bounded(default=8.0, gt=0)
    memory_mb: float = Bounded(default=64.0, gt=0)  # of all workers together


class EchoEngine:
    """Ready when GET /health answers 200."""

    name: ClassVar[str] = "echo"
    section: ClassVar[type[Options]] = EchoSection
    defaults: ClassVar[Mapping[str, Any]] = {
        "target_field": [
            {
                "name": "WORKERS",
                "config_position": "argument:--workers",
                "dtype": "int",
                "min": 1,
                "max": 16,
                "value": 2,
            },
            {"name": "ECHO_BATCH", "config_position": "env", "dtype": "enum", "dtype_param": [1, 2, 4], "value": 1},
            {"name": "CONCURRENCY", "config_position": "env", "dtype": "int", "min": 1, "max": 16, "value": 4},
        ]
    }

    # results are reused only where these variables are equal, too
    relevant_variables: ClassVar[Sequence[str]] = ("ECHO_*", *provenance.OF_EVERY_PROGRAM)

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = EchoSection.model_validate(options)

    def plan(self, order: ServiceOrder) -> ServicePlan:
        """The server's command line. WORKERS is one of its flags, ECHO_BATCH one of its environment variables."""
        given, place = self.options, order.workplace
        port = endpoint.port_number(given.port, "echo.port")
        ready = HttpProbe(endpoint.reachable(given.host), port, "/health")
        refuse_dotted_positions(order.fields, self.name)
        if not order.managed:  # somebody else runs it: nothing is started, only the load can be searched
            refuse_searched_service(order.fields, self.name)
            return ServicePlan(command=None, ready=ready)
        environment = program.section_environment(given, place, order.configuration)
        environment |= arguments.field_environment(order.fields, order.configuration, load=False)
        argv = [given.program or sys.executable, str(SERVER), "--host", given.host, "--port", str(port)]
        argv += ["--answer-ms", str(given.answer_ms), "--worker-mb", str(given.worker_mb)]
        argv += ["--memory-mb", str(given.memory_mb)]
        fields = {
            field.name: arguments.field_arguments([field], order.configuration, load=False) for field in order.fields
        }
        arguments.refuse_doubled({"the engine": argv, **fields})
        argv += [word for words in fields.values() for word in words]
        return ServicePlan(
            command=program.command(argv, given, place, environment), ready=ready, listens_on=(given.host, port)
        )

    def problems(self, workplace: Workplace, managed: bool = True) -> list[Problem]:
        """A program or a working directory that is not there."""
        wrong_port = endpoint.port_problem(self.options.port, "echo.port")
        if not managed:
            return wrong_port
        python = self.options.program or sys.executable
        return wrong_port + program.program_problems(self.name, python, self.options, workplace)

    def identity(self, workplace: Workplace) -> dict[str, str]:
        """Results are reused only where all of this is equal."""
        return {
            "version": version("serviceopt-echo"),
            "answer_ms": str(self.options.answer_ms),
            "memory": f"{self.options.worker_mb} of {self.options.memory_mb} MB",
        }

    def kv_blocks(self, report: str) -> int | None:
        """None: it has no cache."""
        return None

    def devices(self, configuration: Configuration, fields: Sequence[Field] = ()) -> int:
        """One."""
        return 1
