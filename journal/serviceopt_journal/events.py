"""Everything that can happen, in the past tense, with units.

Each event is a frozen, tagged msgspec struct. Rules that keep every journal readable for ever:

* a field that is added later has a default, and the event a new `v`;
* a field that changes its meaning is a new event;
* nothing is ever renamed or removed.

Times are seconds, rates are per second, sizes are bytes. Fields named `run`, `particle`, `evaluation` and
`measurement` are the numbers by which everything is found again: a run counts from 1 in the journal, a particle and
an evaluation from 1 in their run, a measurement from 1 in its evaluation.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from . import values
from .metrics import Metrics
from .proof import Proof

Value = values.Value
Configuration = values.Configuration
Kind = values.Kind


class EditedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the user's that is changed for one launch and put back afterwards."""

    path: str
    original_sha256: str  # of its bytes before, kept among the artefacts
    edited_sha256: str


# gc=False: what comes from JSON has no cycles, and a long replay would be searched for them many times.
class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=False, gc=False):
    """What every event has: a type (its tag) and the version of its fields."""

    v: int = 1


# ---------------------------------------------------------------------------------------------------- the daemon


class DaemonStarted(Event, frozen=True, kw_only=True, tag="daemon_started"):
    """A process took the writer lock, verified the journal and rebuilt the state."""

    v: int = 2
    version: str
    pid: int
    host: str
    python: str
    standalone: bool = False  # a foreground `run --standalone` or `optimizer`, not the service
    replayed: int = 0  # events read to rebuild the state
    repaired: tuple[str, ...] = ()  # faults of the journal's surroundings that opening found and put right


class DaemonStopped(Event, frozen=True, kw_only=True, tag="daemon_stopped"):
    """The daemon ended in order and left nothing running. A crash leaves no such event."""

    reason: str


class WritingHeld(Event, frozen=True, kw_only=True, tag="writing_held"):
    """The disk was full, or something else that every step needs was used up; written when there was enough again."""

    reason: str
    seconds: float  # how long nothing could be committed, or done


class DropInRefused(Event, frozen=True, kw_only=True, tag="drop_in_refused"):
    """A file in the watched directory was not a valid configuration; the messages say why."""

    path: str
    problems: tuple[str, ...]


class LogLevelChanged(Event, frozen=True, kw_only=True, tag="log_level_changed"):
    """The daemon's own log level was changed while it ran."""

    level: str


# ---------------------------------------------------------------------------------------------------------- runs


class RunSubmitted(Event, frozen=True, kw_only=True, tag="run_submitted"):
    """A tuning job was accepted. Its settings are frozen here: replay never reads a configuration file."""

    run: int
    name: str
    settings: dict[str, Any]  # serviceoptd.domain.settings.RunSettings, as built from the configuration
    seed: int  # of every random decision of this run
    run_identity: str  # decides what --load_breakpoint continues
    measurement_identity: str  # decides whether a measured value may be reused
    identity_parts: dict[str, str]  # what the identities were made of, for people
    configuration_path: str | None = None
    configuration_text: str = ""  # as the user wrote it, secrets masked
    working_directory: str = ""  # the submitter's; relative paths resolve against it
    environment_names: tuple[str, ...] = ()  # the submitter's variables
    environment_file: str = ""  # 0600 file below the state directory that holds their values
    environment_sha256: str = ""
    submitter_uid: int = 0
    submitted_through: Literal["socket", "standalone", "drop-in", "import"] = "socket"
    load_breakpoint: bool = False


class RunStarted(Event, frozen=True, kw_only=True, tag="run_started"):
    """The run left the queue and began."""

    run: int


class RunPaused(Event, frozen=True, kw_only=True, tag="run_paused"):
    """No further evaluation starts until RunResumed. `held`: the daemon itself paused it, for the reason given."""

    run: int
    reason: str
    held: bool = False


class RunResumed(Event, frozen=True, kw_only=True, tag="run_resumed"):
    """Evaluations may start again. Particles of `measured_again`, whose failures held the run, are due once more."""

    v: int = 2
    run: int
    reason: str = ""
    measured_again: tuple[int, ...] = ()


class RunCancelRequested(Event, frozen=True, kw_only=True, tag="run_cancel_requested"):
    """A user cancelled the run; its processes are being stopped, and RunFinished follows."""

    run: int
    reason: str = ""


class RunReconfigured(Event, frozen=True, kw_only=True, tag="run_reconfigured"):
    """Settings of a run under way were changed: SLOs, penalties, budget or log level. Results are scored again."""

    run: int
    changes: dict[str, Any]  # setting -> new value, in the shape of RunSettings
    source: str = ""


class RunFinished(Event, frozen=True, kw_only=True, tag="run_finished"):
    """The run is over. `recommended` is the particle to deploy, if any was feasible, else the closest one."""

    v: int = 2
    run: int
    outcome: Literal["completed", "cancelled", "failed"]
    reason: str  # budget used, space exhausted, time limit, cancelled, nothing could be measured
    recommended: int | None = None
    feasible: bool = False
    evaluations: int = 0
    seconds: float = 0.0  # worked on it: neither paused, nor with the daemon down
    proof: Proof | None = None  # how sure the recommendation is; None: nothing was confirmed
    kind: Kind = ""  # of the recommended particle's result


# ----------------------------------------------------------------------------------------------------- particles


class ParticleProposed(Event, frozen=True, kw_only=True, tag="particle_proposed"):
    """The search proposed a point. Position and velocity are the decision, so replay needs no random numbers."""

    run: int
    particle: int
    slot: int  # which member of the swarm moves, from 0
    iteration: int  # how often this slot has moved, from 0
    position: tuple[float, ...]  # in the unit cube, one coordinate a search dimension
    velocity: tuple[float, ...]
    configuration: Configuration  # decoded and repaired: what will be run
    strategy: str
    origin: str  # current-setting, initial, swarm, random, ...
    predicted: Metrics | None = None  # by the models of the search, at the time
    probability_feasible: float | None = None  # of keeping every objective, by the models
    expected_gain: float | None = None  # expected improvement of the best objective, relative to it, by the models


class ParticleMatched(Event, frozen=True, kw_only=True, tag="particle_matched"):
    """The particle landed on a configuration that is known already: it takes that result, no evaluation is due."""

    v: int = 2
    run: int
    particle: int
    same_as_run: int
    same_as_particle: int
    kind: Kind = ""  # of the result that it takes; empty: it failed, or is not there yet


class ParticleRejected(Event, frozen=True, kw_only=True, tag="particle_rejected"):
    """The particle was given up before its evaluation, for the reason given and the prediction that it rests on.

    `audited`: it is measured anyway, to learn how often the rules are wrong.
    """

    v: int = 3
    run: int
    particle: int
    rule: str
    reason: str
    predicted: Metrics | None = None
    kind: Literal["theory", "experience", "measured", "simulated", ""] = ""  # what it judges from; "": it does not say
    audited: bool = False
    remark: str = ""  # why the prediction should be believed less than usual


class RuleRefuted(Event, frozen=True, kw_only=True, tag="rule_refuted"):
    """A service did what a rule of theory had ruled out: the rule is off for the rest of this run."""

    run: int
    rule: str
    particle: int  # the configuration that did it
    reason: str  # for which the rule would have rejected it


class ResultImported(Event, frozen=True, kw_only=True, tag="result_imported"):
    """The particle's result was read from a file of the predecessor: history, not measured here and never reused."""

    run: int
    particle: int
    source_file: str
    source_sha256: str  # of the whole file, which is kept among the artefacts
    line: int  # of the row in it, from 1
    measured: bool = True  # real_evaluation, as the file has it
    metrics: Metrics | None = None  # a throughput or success rate that the file does not have is -1
    error: str = ""
    seconds: float = 0.0  # the file's duration
    num_prompts: int | None = None
    fitness: float | None = None  # by the predecessor's formula; ours follows from the metrics
    backup: str = ""  # where the predecessor kept its data


class ConfirmationRequested(Event, frozen=True, kw_only=True, tag="confirmation_requested"):
    """The search is over and a finalist is to be measured once more, apart from what the search measured of it."""

    run: int
    particle: int
    round: int  # from 1: which confirmation of this particle
    reason: str


# --------------------------------------------------------------------------------------------------- evaluations


class ServiceLaunching(Event, frozen=True, kw_only=True, tag="service_launching"):
    """The service is about to be started (announced before the spawn, so that recovery can find what it left)."""

    run: int
    particle: int
    evaluation: int
    attempt: int  # from 1; interrupted and retried launches count
    launch_id: str  # the child finds it in SERVICEOPT_LAUNCH_ID
    argv: tuple[str, ...] = ()  # empty: in process, or a service that serviceopt does not start
    working_directory: str = ""
    environment: dict[str, str] = {}  # what serviceopt sets beyond the submitter's environment, secrets masked
    measuring_environment: dict[str, str] = {}  # set for measuring only: no part of a deployment
    cgroup: str = ""  # absolute path; empty where no cgroup is delegated to serviceopt
    log: str = ""  # path of the service's own output
    stop_argv: tuple[str, ...] = ()
    device_memory: dict[str, int] = {}  # bytes in use by device before the launch
    edited_files: tuple[EditedFile, ...] = ()  # restored before ServiceStopped or EvaluationInterrupted
    devices: int = 1  # accelerators that one service uses, for objectives per device
    simulated: bool = False
    managed: bool = True  # false: serviceopt neither starts nor stops the service


class ServiceLaunched(Event, frozen=True, kw_only=True, tag="service_launched"):
    """The process of the service exists."""

    run: int
    evaluation: int
    attempt: int
    pid: int
    process_started: float  # its start time as the kernel has it (seconds since the epoch): tells a recycled pid


class ServiceReady(Event, frozen=True, kw_only=True, tag="service_ready"):
    """The engine answered its readiness check; measurements may begin."""

    v: int = 2
    run: int
    evaluation: int
    attempt: int
    waited: float  # seconds from spawn to the first good answer
    kv_blocks: int | None = None  # as the engine reports it; the simulator needs it
    kv_block_size: int | None = None  # tokens of one of them, where the engine reports that too


class ServiceFailed(Event, frozen=True, kw_only=True, tag="service_failed"):
    """The service did not become ready, or ended, or logged a fatal error. ServiceStopped still follows."""

    v: int = 2
    run: int
    evaluation: int
    attempt: int
    kind: Literal["fatal", "retryable", "exited", "timeout", "configuration", "environment"]
    reason: str
    exit_status: int | None = None
    will_retry: bool = False
    cause: str = ""  # of what it failed, by its log: out_of_memory, port... or a pattern's kind; empty: not known


class MeasurementStarted(Event, frozen=True, kw_only=True, tag="measurement_started"):
    """The benchmark client is about to be started (announced before the spawn)."""

    run: int
    particle: int
    evaluation: int
    measurement: int
    attempt: int  # from 1; interrupted and retried clients count
    launch_id: str
    concurrency: int | None  # None: not limited
    request_rate: float | None  # requests/s; None: not limited
    num_prompts: int
    seed: int  # of the client's data, another one for each measurement of a service
    argv: tuple[str, ...] = ()
    cgroup: str = ""
    log: str = ""  # path of the client's output
    directory: str = ""  # private to this measurement
    warm_up: bool = False  # a warm-up preceded or is part of it, since the service had been measured before
    cache_reset: bool = False  # the engine's prefix cache was reset before it
    simulated: bool = False


class MeasurementFinished(Event, frozen=True, kw_only=True, tag="measurement_finished"):
    """The client ended well with a plausible result, or was ended early because its result was known already."""

    run: int
    particle: int
    evaluation: int
    measurement: int
    attempt: int
    metrics: Metrics
    seconds: float  # of the client's process
    artefacts: dict[str, str] = {}  # name -> SHA-256 of what the client wrote and printed, kept beside the journal
    simulated: bool = False
    stopped_early: str = ""  # why the client was ended before it had sent all requests
    observed_by: Literal["client", "metrics"] = "client"  # metrics: from the service's own, in the client's terms
    served: Metrics | None = None  # what the service itself counted meanwhile, where it was looked at
    looks: int = 0  # at the service's own metrics
    drained: float = 0.0  # seconds until the service was idle after an early end
    remark: str = ""  # why early stopping could not read the metrics; of a simulation, where it should not be believed


class MeasurementFailed(Event, frozen=True, kw_only=True, tag="measurement_failed"):
    """The client failed, or its result cannot be believed."""

    v: int = 2
    run: int
    particle: int
    evaluation: int
    measurement: int
    attempt: int
    kind: Literal["fatal", "retryable", "exited", "timeout", "unusable", "service"]
    reason: str
    exit_status: int | None = None
    seconds: float = 0.0
    metrics: Metrics | None = None  # what could still be read
    artefacts: dict[str, str] = {}
    will_retry: bool = False
    cause: str = ""  # as in ServiceFailed, where the service is to blame; `killed`: somebody ended the client


class MeasurementRejected(Event, frozen=True, kw_only=True, tag="measurement_rejected"):
    """A running measurement was ended early: it could no longer meet the SLO or beat the best.

    What was observed is partial. Of one statistic a bound of the final value is known.
    """

    run: int
    particle: int
    evaluation: int
    measurement: int
    attempt: int
    rule: str
    reason: str
    observed: Metrics | None = None  # by the service's own metrics, until then
    statistic: str = (
        ""  # "ttft mean", "tpot p99"...: at least `bound` seconds; "success_rate" or the objective: at most
    )
    bound: float | None = None
    seconds: float = 0.0  # of the client's process
    artefacts: dict[str, str] = {}  # name -> SHA-256, as in MeasurementFinished
    looks: int = 0  # at the service's own metrics
    drained: float = 0.0  # seconds until the service was idle again


class ServiceStopping(Event, frozen=True, kw_only=True, tag="service_stopping"):
    """The service is about to be stopped."""

    run: int
    evaluation: int
    attempt: int
    reason: str = ""


class ServiceStopped(Event, frozen=True, kw_only=True, tag="service_stopped"):
    """Nothing of the service is left, and its devices' memory is free again (or the limit for that passed)."""

    run: int
    evaluation: int
    attempt: int
    exit_status: int | None = None
    forced: bool = False  # it had to be killed
    seconds: float = 0.0
    memory_waited: float = 0.0  # seconds until the devices' memory was back at its level before the launch
    memory_free: bool = True
    artefacts: dict[str, str] = {}  # name -> SHA-256, such as the service's log


class EvaluationInterrupted(Event, frozen=True, kw_only=True, tag="evaluation_interrupted"):
    """A launch that was announced had no outcome (crash, stop, cancel): what was left of it has been ended.

    The evaluation goes on under the same number; measurements that had finished count.
    """

    run: int
    evaluation: int
    attempt: int
    reason: str
    reaped: tuple[int, ...] = ()  # pids that were still alive and were ended


class SurroundingsFailed(Event, frozen=True, kw_only=True, tag="surroundings_failed"):
    """A step of a run could not be done, for a reason that says nothing of its configuration: no room on a disk, no
    descriptors, an error of the operating system's. Nothing of it is a result, and the step is due again.

    What had been announced was ended before (EvaluationInterrupted). After three in a row in one phase the run is held.
    """

    run: int
    phase: Literal["proposing", "launching", "measuring", "stopping"]
    reason: str
    evaluation: int | None = None  # None: none was under way


class EvaluationFinished(Event, frozen=True, kw_only=True, tag="evaluation_finished"):
    """Nothing more is due on this launch. `error` is empty only when every measurement ran properly."""

    run: int
    evaluation: int
    particles: tuple[int, ...]  # those that were measured on it
    error: str = ""
    seconds: float = 0.0  # from ServiceLaunching of the last attempt, but for what passed between two boots
    backup: str = ""  # where its data are kept, with --backup
    backup_skipped: str = ""  # why they are not, although --backup asks for it


EVENT_TYPES: tuple[type[Event], ...] = tuple(Event.__subclasses__())
"""Every event type, in the order of this page."""

AnyEvent = (
    DaemonStarted
    | DaemonStopped
    | WritingHeld
    | DropInRefused
    | LogLevelChanged
    | RunSubmitted
    | RunStarted
    | RunPaused
    | RunResumed
    | RunCancelRequested
    | RunReconfigured
    | RunFinished
    | ParticleProposed
    | ParticleMatched
    | ParticleRejected
    | RuleRefuted
    | ResultImported
    | ConfirmationRequested
    | ServiceLaunching
    | ServiceLaunched
    | ServiceReady
    | ServiceFailed
    | MeasurementStarted
    | MeasurementFinished
    | MeasurementFailed
    | MeasurementRejected
    | ServiceStopping
    | ServiceStopped
    | EvaluationInterrupted
    | SurroundingsFailed
    | EvaluationFinished
)
"""What a decoder of journal bytes may meet."""
