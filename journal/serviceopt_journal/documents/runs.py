"""The daemon, the queue, and runs: in one line, in full, and as a table of results."""

from __future__ import annotations

from typing import Any

import msgspec

from ..values import Configuration, Value
from .particles import Particle, RejectionRecord


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One run in one line."""

    run: int  # its number in the journal, from 1
    name: str = ""
    status: str  # `queued`, `running`, `paused`, `held` (paused by the daemon itself), `cancelling`, or the outcome
    outcome: str = ""  # `completed`, `cancelled`, `failed`; empty while it is not over
    engine: str
    benchmark: str
    submitted: float  # seconds since the epoch
    started: float | None = None  # seconds since the epoch
    finished: float | None = None  # seconds since the epoch; `null` while it is not over
    admitted: int  # configurations that count against the budget
    budget: int  # how many may
    best_generate_speed: float | None = None  # output tokens/s of the best so far
    feasible: bool = False  # whether the best so far meets every SLO
    unsure: bool = False  # whether it met every SLO when it was measured, which is not certain enough to say so
    simulated: bool = False  # whether any value of the run is simulated and not measured
    imported: str = ""  # the file that every value of the run was read from; empty: measured here


class Runs(msgspec.Struct, frozen=True, kw_only=True):
    """Every run of the journal."""

    runs: tuple[RunSummary, ...]  # oldest first


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What a run may be continued as, and whose values it may reuse."""

    run: str  # SHA-256 that decides what `--load-breakpoint` continues
    measurement: str  # SHA-256 that decides whether a measured value may be reused
    parts: dict[str, str] = {}  # what they were made of


class TargetField(msgspec.Struct, frozen=True, kw_only=True):
    """One parameter of the search space; the meaning of each `dtype` is in configuration.md."""

    name: str
    config_position: str = "env"  # `env`, `argument:--flag`, or a dotted path into the engine's JSON configuration
    dtype: str
    min: float = 0.0
    max: float = 0.0
    dtype_param: Any = None  # enum: its values; range: the step; ratio and share: a field's name; others: a table
    value: Value | None = None  # the current setting
    constant: Value | None = None  # fixes the field
    load: bool = False  # tunes the client's load and not the service


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the particles of a run."""

    proposed: int = 0  # particles
    measured: int = 0  # particles
    failed: int = 0  # particles
    rejected: int = 0  # particles
    finalists: int = 0  # particles measured again after the search, on a budget of their own
    matched: int = 0  # particles that took the result of another one
    evaluations: int = 0  # launches of the service
    measurements: int = 0  # of the search
    confirmations: int = 0  # measurements after it


class EvaluationUnderWay(msgspec.Struct, frozen=True, kw_only=True):
    """The launch of a service that is worked on now."""

    evaluation: int  # its number in the run, from 1
    attempt: int = 1
    phase: str  # `launching`, `launched`, `ready`, `measuring`, `stopping` and so on
    particle: int
    configuration: Configuration
    service_log: str = ""  # path
    client_log: str = ""  # path; empty while nothing is measured
    measurement: int | None = None  # its number in the evaluation
    since: float = 0.0  # seconds since the epoch, when the measurement or the attempt began
    seconds: float = 0.0  # since then
    pid: int | None = None  # of the service


class Run(RunSummary, frozen=True, kw_only=True):
    """One run in full."""

    reason: str = ""  # why it ended
    paused: str = ""  # why it is paused; empty: it is not
    held: bool = False  # whether the daemon itself paused it
    identity: Identity
    seed: int = 0  # of every random decision
    working_directory: str = ""
    configuration_path: str | None = None
    objective: str  # in words
    fields: tuple[TargetField, ...] = ()  # the search space
    max_hours: float | None = None  # budget of time
    target: float | None = None  # per cent: the search ends below this expected gain
    expected_gain: float | None = None  # what the models expected of the last evaluation, as a fraction
    evaluations_left: int = 0  # what the budget of the search still allows
    confirmations_left: int = 0  # the same of the proof
    active_seconds: float = 0.0  # spent working on it: neither paused, nor with the daemon down
    counts: Counts = Counts()
    rejections: RejectionRecord = RejectionRecord()
    best: Particle | None = None  # so far
    latest: Particle | None = None  # the one that was measured last, or is being measured
    current: EvaluationUnderWay | None = None
    # an estimate to the end of both budgets, from the mean of what is finished; `null` while nothing is known
    seconds_left: float | None = None


class Daemon(msgspec.Struct, frozen=True, kw_only=True):
    """The process that answers."""

    pid: int | None = None
    version: str = ""
    started: float | None = None  # seconds since the epoch
    standalone: bool = False  # a run in the foreground, and not the service
    draining: bool = False  # it starts nothing more
    stopped: bool = False  # its process is stopped (Ctrl-Z, SIGSTOP) and answers nobody: this is read from the journal
    held: str = ""  # why it cannot write now, such as a full disk; empty otherwise
    state_directory: str = ""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Everything at a glance."""

    daemon: Daemon | None  # `null` when it is down
    seq: int  # of the last event
    current: Run | None = None  # the one that is worked on
    queued: tuple[int, ...] = ()  # numbers of the runs that wait
    runs: int = 0  # how many there are
    last: Run | None = None  # the latest one


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """The results of a run, a row for each set of parameters and load."""

    columns: tuple[str, ...]  # names, in their order
    rows: tuple[dict[str, Value | None], ...]  # column -> value; `null` where there is nothing to tell
