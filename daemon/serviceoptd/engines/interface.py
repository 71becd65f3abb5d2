"""What an engine is. Read this first; each engine is one file beside it.

An engine knows its command line and its signs of life. It never spawns, kills or waits itself: `plan` returns data. So
every engine is tested without a process, `check --dry-run` prints the very same data, and one module of the project
(`io/processes.py`) starts processes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from serviceopt_journal.events import Configuration
from serviceoptd.domain.settings import Field, ModelFacts
from serviceoptd.toolkit.interface import (
    Command,
    HttpProbe,
    LogProbe,
    MetricsPage,
    Options,
    Probe,
    Problem,
    ProcessOptions,
    Workplace,
    render,
)

# The names of the toolkit are offered here too for one release: plugins import them from here (docs/plugins.md).
__all__ = [
    "Command",
    "Describing",
    "Engine",
    "HttpProbe",
    "LogProbe",
    "MetricsPage",
    "Options",
    "Probe",
    "Problem",
    "ProcessOptions",
    "Repairing",
    "ServiceOrder",
    "ServicePlan",
    "Survey",
    "Surveying",
    "TellsBlockSize",
    "Workplace",
    "render",
]


@dataclass(frozen=True)
class ServicePlan:
    """How one configuration is served."""

    command: Command | None  # None: in process (simulated), or a service that somebody else runs
    ready: Probe | tuple[Probe, ...] | None  # None: at once; several: all of them
    listens_on: tuple[str, int] | None = None  # host and port that must be free before the launch
    stop: Command | None = None  # instead of SIGTERM
    edits: Mapping[Path, bytes] = field(default_factory=dict)  # files of the user's: new content while it runs
    configured_by: tuple[Path, ...] = ()  # those files, also where one holds its values already: `best` writes them
    reset_cache: HttpProbe | None = None  # forgets cached prefixes between measurements, where the engine offers it
    report: HttpProbe | None = None  # answers with text from which `kv_blocks` is read once, when ready
    metrics: MetricsPage | None = None  # read while it is measured; None: it tells nothing of that kind
    devices: int | None = None  # accelerators, where only a file that was read tells; None: what `devices` says
    simulated: bool = False
    failure: str | None = None  # simulated engines only: the launch fails with this reason
    kv_blocks: int | None = None  # simulated engines only


@dataclass(frozen=True)
class ServiceOrder:
    """What the engine is asked to serve."""

    configuration: Configuration
    fields: Sequence[Field]
    workplace: Workplace
    managed: bool = True


class Engine(Protocol):
    """One kind of service."""

    name: ClassVar[str]
    section: ClassVar[type[Options]]  # the model of the engine's section of the configuration
    defaults: ClassVar[Mapping[str, Any]]  # its section where the user gives none: the default search space above all

    def __init__(self, options: Mapping[str, Any]) -> None:
        """Takes the validated section (`section.model_dump(mode="json")`)."""

    def plan(self, order: ServiceOrder) -> ServicePlan:
        """The process to start and its signs of life.

        Raises:
            InvalidConfiguration: a value that this engine can be known to refuse, before anything is started.
        """

    def problems(self, workplace: Workplace, managed: bool = True) -> list[Problem]:
        """Placeholders still to be replaced, a program or a model that is not there... Reads, never writes.

        `managed` False: somebody else runs the service, so its program and model are his affair.
        """

    def identity(self, workplace: Workplace) -> dict[str, str]:
        """What a measured value depends on: program version, model, fixed options... Fast: starts no process."""

    def kv_blocks(self, report: str) -> int | None:
        """The number of KV-cache blocks, from the text that `ServicePlan.report` answered with or from the log."""

    def devices(self, configuration: Configuration, fields: Sequence[Field] = ()) -> int:
        """How many accelerators one service uses with this configuration, for objectives per device.

        `fields` tell which parameter goes to which flag.
        """


@runtime_checkable
class TellsBlockSize(Protocol):
    """An engine whose report tells how many tokens a KV-cache block holds. Optional: the simulator needs it."""

    def kv_block_size(self, report: str) -> int | None:
        """Tokens, from the text from which `kv_blocks` reads; None where it does not tell."""


@runtime_checkable
class Repairing(Protocol):
    """An engine whose parameters limit each other in ways that no dtype can say. Optional."""

    def repaired(self, configuration: Configuration, fields: Sequence[Field]) -> Configuration:
        """The configuration that is really run in place of this one: legal ones are left alone. Pure.

        `repaired(repaired(c)) == repaired(c)`. The search works on repaired configurations only.
        """


@dataclass(frozen=True)
class Survey:
    """What a look at this machine makes of the target fields."""

    fields: tuple[Field, ...]
    remarks: tuple[Problem, ...] = ()  # for people: which bounds were narrowed, and why


@runtime_checkable
class Surveying(Protocol):
    """An engine that knows its current setting, or narrower bounds, once it sees this machine. Optional."""

    def surveyed(self, fields: Sequence[Field], workplace: Workplace, guidance: Mapping[str, Any]) -> Survey:
        """The fields with what is known here filled in, never beyond the bounds that they have. Reads, never writes.

        Asked when a run is checked or submitted. What cannot be read is passed over: `problems` tells of it.
        `guidance`: the top-level keys `theory_guided_enable`, `mem_coefficient`, `scaling_coefficient`, where given.
        """


@runtime_checkable
class Describing(Protocol):
    """An engine whose model and fixed options are known before anything is launched. Optional: rules of theory need it."""

    def model_facts(self, workplace: Workplace) -> ModelFacts:
        """What the model asks of the accelerators, and the fixed options. Reads, never writes.

        Asked once, when a run is submitted. What is not known, or not for certain, is left out.
        """
