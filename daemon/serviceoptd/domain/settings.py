"""What a run was told to do, frozen into its first event. Later fields need a default: old journals are read for ever."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from serviceopt_journal.events import Value
from serviceopt_journal.metric_table import GENERATE_SPEED, Goal, MetricName

Dtype = Literal[
    "int", "float", "str", "bool", "enum", "range", "ratio", "share", "factories", "times", "ternary_factories",
    "ternary_times",
]  # fmt: skip

LOAD_NAMES = frozenset({"CONCURRENCY", "MAXCONCURRENCY", "REQUESTRATE"})
"""Fields that only change the client's load: the running service can be measured again without a restart."""


def default_rules(strategy: str) -> tuple[str, ...]:
    """The rejection rules where the configuration chooses none. The guided swarm asks its models by itself."""
    theory_and_experience = ("declared", "memory", "latency_bound")
    return (*theory_and_experience, "surrogate") if strategy in ("pso", "random") else theory_and_experience


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One target field of the configuration. Meaning of each dtype: docs/configuration.md."""

    name: str
    config_position: str = "env"  # env | argument:--flag | dotted path into the engine's JSON configuration
    dtype: Dtype
    min: float = 0.0
    max: float = 0.0
    dtype_param: Any = None  # enum: list; range: step; ratio, share: field name; others: a table
    value: Value | None = None  # the current setting
    constant: Value | None = None  # fixes the field
    load: bool = False  # tunes the client's load and not the service


class Slo(msgspec.Struct, frozen=True, kw_only=True):
    """One latency objective: `statistic` of `metric` must not exceed `limit` seconds."""

    metric: MetricName
    statistic: str = "mean"  # mean, or a percentile such as p99
    limit: float


class SoftFormula(msgspec.Struct, frozen=True, kw_only=True):
    """The predecessor's weighted cost, used for the search only when `formula = "soft"` asks for it."""

    ttft_penalty: float
    tpot_penalty: float
    success_rate_penalty: float
    generate_speed_target: float = 5300.0  # tokens/s


class Objective(msgspec.Struct, frozen=True, kw_only=True):
    """What is maximised, and what must hold."""

    maximise: Goal = GENERATE_SPEED
    slos: tuple[Slo, ...] = ()
    success_rate: float = 0.99
    per_device: bool = False
    soft: SoftFormula | None = None


class Constraint(msgspec.Struct, frozen=True, kw_only=True):
    """`left op factor x right`: a rule of experience between parameters (docs/rejection.md).

    Names are those of fields, of command line flags, or the last word of a dotted position, in any spelling.
    """

    left: str
    op: Literal["<=", ">=", "<", ">"]
    right: str | float
    factor: float = 1.0
    when: dict[str, Value] = {}  # it counts only where all of these parameters have these values
    unless: dict[str, Value] = {}  # it does not count where one of these parameters has this value
    source: str  # who says so


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """How the search moves."""

    strategy: str = "swarm"
    n_particles: int = 10
    iters: int = 5
    coefficients: Literal["constriction", "decreasing"] = "constriction"
    options: dict[str, Any] = {}  # of a strategy from a plugin; a table in it with a rule's name is that rule's
    reuse_measurements: bool = False  # take results of earlier runs of the same measurement identity
    warm_start: bool = False  # begin with what did well in a similar run
    loads_per_launch: int = 5  # measurements in a row on one service, at other loads, before another one is launched
    rules: tuple[str, ...] = ()  # rejection rules that judge every proposal, in this order
    constraints: tuple[Constraint, ...] = ()  # as configured; the engine's own are in domain/constraints.py
    audit_share: float = 0.05  # of the rejected particles that are measured anyway, to learn how often it errs
    simulation: dict[str, Any] = {}  # [simulated] of the simulator that advises; empty: none does


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """The limits at which a run ends."""

    evaluations: int  # configurations admitted to evaluation
    max_hours: float | None = None
    target: float | None = None  # stop when the expected gain of an evaluation is below so many per cent


class TimeLimits(msgspec.Struct, frozen=True, kw_only=True):
    """A limit on every wait, in seconds."""

    launch: float = 3600.0
    measurement: float = 3600.0
    stop: float = 60.0  # from SIGTERM (or the stop command) to SIGKILL
    device_memory: float = 120.0  # until the devices' memory is back at its level before the launch
    http: float = 5.0  # one request of a readiness check or cache reset
    stall: float = 180.0  # with requests in flight and no token; at most half of `measurement`


class LogPatterns(msgspec.Struct, frozen=True, kw_only=True):
    """Substrings of a log line that end an evaluation at once (fatal) or let it be tried again (retryable)."""

    fatal: dict[str, tuple[str, ...]] = {}  # kind, such as out_of_memory -> substrings
    retryable: dict[str, tuple[str, ...]] = {}


class Measuring(msgspec.Struct, frozen=True, kw_only=True):
    """How one configuration is measured."""

    repeats: int = 1  # measurements of each configuration and load; the median counts
    warm_up_requests: int = 8  # before a service that has been measured already is measured again
    attempts: int = 3  # of a launch or a measurement that failed in a retryable way
    hold_after: int = 3  # failures in a row that have one reason, whatever the parameters; 0: never
    sample_size: int | None = None  # requests of a measurement during the search; the finalists get all of them
    log_snippet_length: int = 200  # characters of the log in a failure's reason


class Proving(msgspec.Struct, frozen=True, kw_only=True):
    """How the winner is proven after the search (domain/proof.py)."""

    finalists: int = 3  # configurations measured again; 0 and 1: the best one alone
    measurements: int = 9  # of all finalists together, at most; 0: no proof
    confidence: float = 0.95


class EarlyStopping(msgspec.Struct, frozen=True, kw_only=True):
    """When a measurement under way is ended (domain/early_stopping.py)."""

    enabled: bool = True
    interval: float = 2.0  # seconds between two looks at the service's own metrics
    error_rate: float = 0.05  # probability of a wrong end, over all looks at one measurement
    precision: float = 0.03  # relative, to which a result has to be known before it counts as one
    url: str = ""  # where the metrics are; empty: where the engine knows them to be
    series: dict[str, str] = {}  # what is read -> its name there, where the engine does not know it


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the model asks of the accelerators, read when the run was submitted. None: not known.

    Every number is a lower bound of the truth, so that what follows from it is one too.
    """

    arguments: dict[str, str] = {}  # the engine's fixed options: `tensor_parallel_size` -> "2"; flags "true" or "false"
    weights: float | None = None  # bytes in the memory of all devices of one replica together
    read_each_step: float | None = None  # bytes of weights that each step of the engine reads
    flops_each_token: float | None = None  # floating point operations of each prompt token, at the pace of FP16
    cache_numbers: int | None = None  # kept of each token for each KV head, over all layers
    cache_heads: int = 1
    cache_bytes: float = 2.0  # of one of these numbers, where no option says otherwise
    longest: int | None = None  # tokens of the longest sequence, where no option says otherwise
    experts: bool = False  # which data parallel replicas may share out between them
    needs_a_whole_sequence: bool = False  # the engine refuses to start where the longest sequence does not fit


class DeviceFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The accelerators' limits, read when the run was submitted; of different ones the greatest. None: not known."""

    name: str = ""
    memory: float | None = None  # bytes of one device
    bandwidth: float | None = None  # bytes/s of one device's memory
    flops: float | None = None  # dense FP16 operations/s of one device


class RunSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about a run that its events do not decide themselves."""

    engine: str
    benchmark: str
    fields: tuple[Field, ...]
    objective: Objective
    search: Search
    budget: Budget
    limits: TimeLimits = TimeLimits()
    measuring: Measuring = Measuring()
    proof: Proving = Proving()
    early_stopping: EarlyStopping = EarlyStopping()
    store_profile: bool = True  # keep what the service tells of its engine's steps while it is measured
    service_errors: LogPatterns = LogPatterns()
    benchmark_errors: LogPatterns = LogPatterns()
    engine_options: dict[str, Any] = {}  # the engine's section, validated and with its defaults
    benchmark_options: dict[str, Any] = {}
    manage_lifecycle: bool = True  # false: somebody else runs the service; only its load is tuned
    path_prefix: str = ""  # [deploy]: first on the children's PATH
    backup: bool = False
    backup_limit: int = 10_000_000_000  # bytes that --backup may keep of the run
    store_dir: str = "result/store"
    log_level: str = "INFO"
    model_facts: ModelFacts = ModelFacts()
    device_facts: DeviceFacts = DeviceFacts()
    simulation_files: dict[str, str] = {}  # SHA-256 of what `search.simulation` names, when the run was submitted
    as_written: tuple[Field, ...] = ()  # the fields before the engine's survey of this machine; empty: as they are
    notes: dict[str, Any] = {}  # accepted keys that have no effect here, or that engines look at

    @property
    def num_prompts(self) -> int | None:
        """Requests of a full measurement, as the client's section says; None where it does not."""
        sections = (self.benchmark_options, *(self.benchmark_options.get(key) or {} for key in ("command", "client")))
        found = next((section["num_prompts"] for section in sections if section.get("num_prompts")), None)
        return int(found) if found is not None else None

    @property
    def sample(self) -> int | None:
        """Requests of a measurement during the search; None: all of them."""
        size, every = self.measuring.sample_size, self.num_prompts
        return size if size is not None and every is not None and size < every else None
