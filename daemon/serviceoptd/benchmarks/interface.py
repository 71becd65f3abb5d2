"""What a benchmark client is. Read this first; each client is one file beside it.

A client knows how its load is set, where its result will be, and when that result must not be believed. Like an
engine it returns data and starts nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from serviceopt_journal.events import Configuration
from serviceopt_journal.metrics import Metrics
from serviceoptd.domain.settings import Field, Objective
from serviceoptd.toolkit.asked_address import Asked
from serviceoptd.toolkit.interface import Command, Options, Problem, UnusableResult, Workplace

__all__ = ["Addressing", "Benchmark", "ClientOutcome", "MeasurementOrder", "MeasurementPlan", "UnusableResult"]


@dataclass(frozen=True)
class MeasurementOrder:
    """What the client is asked to measure."""

    configuration: Configuration
    fields: Sequence[Field]
    concurrency: int | None  # requests in flight at most; None: not limited
    request_rate: float | None  # requests/s; None: not limited
    seed: int  # another one for each measurement of a service, so that cached prefixes do not help
    warm_up_requests: int  # to send before the measured ones; 0: none
    objective: Objective  # tells which percentiles and whether goodput are needed
    workplace: Workplace
    sample: int | None = None  # requests to send, of those that the client's section tells; None: all
    details: bool = False  # single requests are wanted where the objective is about percentiles (`Metrics.tails`)
    noise_key: tuple[int, int, int] = (0, 0, 0)  # run seed, particle, measurement: simulated clients only


@dataclass(frozen=True)
class MeasurementPlan:
    """How one load is measured."""

    command: Command | None  # None: in process; then `simulated` or `failure` holds the outcome
    num_prompts: int
    artefacts: Mapping[str, Path] | None = None  # name -> file that the client writes, to be kept with the journal
    main_run: str = ""  # text of the line of its output after which it sends the measured requests; "": it says nothing
    simulated: Metrics | None = None
    failure: str | None = None
    remark: str = ""  # simulated clients only: why it should not be believed


@dataclass(frozen=True)
class ClientOutcome:
    """What was left when the client's process had ended."""

    exit_status: int
    output: Path  # standard output and error
    order: MeasurementOrder
    plan: MeasurementPlan


class Benchmark(Protocol):
    """One kind of benchmark client."""

    name: ClassVar[str]
    section: ClassVar[type[Options]]
    defaults: ClassVar[Mapping[str, Any]]

    def __init__(self, options: Mapping[str, Any]) -> None:
        """Takes the validated section (`section.model_dump(mode="json")`)."""

    def plan(self, order: MeasurementOrder) -> MeasurementPlan:
        """The client to start, and where its result will be."""

    def read(self, outcome: ClientOutcome) -> Metrics:
        """The metrics in the project's units (seconds, tokens/s, requests/s).

        Raises:
            UnusableResult: no result, one of another measurement, no completed request, not a number, an exit status
                other than 0, a statistic that the objective needs is missing.
        """

    def problems(self, workplace: Workplace) -> list[Problem]:
        """Placeholders still to be replaced, a program or a data set that is not there... Reads, never writes."""

    def identity(self, workplace: Workplace) -> dict[str, str]:
        """What a measured value depends on: program version, data set and its hash, number of prompts..."""


@runtime_checkable
class Addressing(Protocol):
    """A client whose command line does not say which server it asks. Optional: else flags such as --base-url are read."""

    def asks(self, plan: MeasurementPlan) -> list[Asked]:
        """Where the requests of this plan go, as far as it is known. Pure."""
