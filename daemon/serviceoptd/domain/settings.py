"""What a run was told to do, frozen into its first event. Later fields need a default: old journals are read for ever."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from serviceopt_journal.events import Value

Dtype = Literal[
    "int", "float", "str", "bool", "enum", "range", "ratio", "share", "factories", "times", "ternary_factories",
    "ternary_times",
]  # fmt: skip

LOAD_NAMES = frozenset({"CONCURRENCY", "MAXCONCURRENCY", "REQUESTRATE"})
"""Fields that only change the client's load: the running service can be measured again without a restart."""


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

    metric: Literal["ttft", "tpot", "e2el"]
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

    maximise: Literal["generate_speed", "throughput", "goodput"] = "generate_speed"
    slos: tuple[Slo, ...] = ()
    success_rate: float = 0.99
    per_device: bool = False
    soft: SoftFormula | None = None


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """How the search moves."""

    strategy: str = "swarm"
    n_particles: int = 10
    iters: int = 5
    coefficients: Literal["constriction", "decreasing"] = "constriction"
    options: dict[str, Any] = {}  # of a strategy from a plugin; a table in it with a rule's name is that rule's
    reuse_measurements: bool = False  # take results of earlier runs of the same measurement identity
    rules: tuple[str, ...] = ()  # rejection rules that judge every proposal, in this order


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """When to stop."""

    evaluations: int  # configurations admitted to evaluation
    max_hours: float | None = None


class TimeLimits(msgspec.Struct, frozen=True, kw_only=True):
    """A limit on every wait, in seconds."""

    launch: float = 3600.0
    measurement: float = 3600.0
    stop: float = 60.0  # from SIGTERM (or the stop command) to SIGKILL
    device_memory: float = 120.0  # until the devices' memory is back at its level before the launch
    http: float = 5.0  # one request of a readiness check or cache reset


class LogPatterns(msgspec.Struct, frozen=True, kw_only=True):
    """Substrings of a log line that end an evaluation at once (fatal) or let it be tried again (retryable)."""

    fatal: dict[str, tuple[str, ...]] = {}  # kind, such as out_of_memory -> substrings
    retryable: dict[str, tuple[str, ...]] = {}


class Measuring(msgspec.Struct, frozen=True, kw_only=True):
    """How one configuration is measured."""

    repeats: int = 1  # measurements of each configuration and load; the median counts
    warm_up_requests: int = 8  # before a service that has been measured already is measured again
    attempts: int = 3  # of a launch or a measurement that failed in a retryable way
    sample_size: int | None = None  # requests of a measurement during the search; the finalists get all of them
    log_snippet_length: int = 200  # characters of the log in a failure's reason


class FineTuning(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to the best configurations after the search (domain/fine_tuning.py)."""

    top_k: int = 0  # finalists; 0: no fine-tuning
    step_size: float = 0.6  # factor by which a load is lowered, and its inverse by which it is raised
    most: int = 10  # measured loads of one finalist


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
    fine_tuning: FineTuning = FineTuning()
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
    as_written: tuple[Field, ...] = ()  # the fields before the engine's survey of this machine; empty: as they are
    notes: dict[str, Any] = {}  # accepted keys whose part comes later (pso_top_k, sample_size, ...)

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
