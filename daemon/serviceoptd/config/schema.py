"""Every key of a configuration that is not an engine's or a client's, with its range and default.

docs/configuration.md describes each of them in words, and a test keeps the two together.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from serviceopt_journal.metric_table import GENERATE_SPEED, Goal, LatencyName

from .values import E2eLimit, TpotLimit, TtftLimit, Upper

WEEK = 7 * 24 * 3600
MetricSeries = Literal[LatencyName, "tokens", "finished", "running", "waiting", "preemptions"]


class Table(BaseModel):
    """Base of every table: unknown keys, values of another type and numbers that are none are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class DataStorage(Table):
    """The table `[data_storage]` of a configuration."""

    store_dir: str = Field(default="result/store", min_length=1)
    pso_top_k: int = Field(default=3, ge=0, le=1000)
    backup_limit_gb: float = Field(default=10.0, gt=0, le=1_000_000)


class ErrorPatterns(Table):
    """`[health_check.service_errors]` and `[health_check.benchmark_errors]`; kinds have any name."""

    fatal_patterns: dict[str, list[Annotated[str, Field(min_length=1)]]] = {}
    retryable_patterns: dict[str, list[Annotated[str, Field(min_length=1)]]] = {}


class HealthCheck(Table):
    """The table `[health_check]` of a configuration."""

    log_snippet_length: int = Field(default=200, ge=0, le=100_000)
    service_errors: ErrorPatterns = ErrorPatterns()
    benchmark_errors: ErrorPatterns = ErrorPatterns()


class ConstraintTable(Table):
    """One table `[[search.constraint]]` of a configuration."""

    left: str = Field(min_length=1)
    op: Literal["<=", ">=", "<", ">"]
    right: Annotated[str, Field(min_length=1)] | float
    factor: float = 1.0
    when: dict[str, int | float | bool | str] = {}
    unless: dict[str, int | float | bool | str] = {}
    source: str = Field(min_length=1)


class SearchTable(Table):
    """The table `[search]` of a configuration."""

    strategy: str = "swarm"
    coefficients: Literal["constriction", "decreasing"] = "constriction"
    reuse_measurements: bool = True
    warm_start: bool = True
    loads_per_launch: int = Field(default=5, ge=1, le=1000)
    rules: list[str] | None = None
    constraint: list[ConstraintTable] = []
    audit_share: float = Field(default=0.05, ge=0, le=1)
    simulation: bool = False
    options: dict[str, Any] = {}


class MeasurementTable(Table):
    """The table `[measurement]` of a configuration."""

    repeats: int = Field(default=1, ge=1, le=100)
    warm_up_requests: int = Field(default=8, ge=0, le=10_000)
    attempts: int = Field(default=3, ge=1, le=10)
    hold_after: int = Field(default=3, ge=0, le=1000)


class ProofTable(Table):
    """The table `[proof]` of a configuration."""

    measurements: int = Field(default=9, ge=0, le=1000)
    confidence: float = Field(default=0.95, ge=0.5, le=0.999)


class EarlyStoppingTable(Table):
    """The table `[early_stopping]` of a configuration."""

    enabled: bool = True
    interval: float = Field(default=2.0, ge=0.01, le=600)
    error_rate: float = Field(default=0.05, gt=0, le=0.5)
    precision: float = Field(default=0.03, gt=0, le=0.5)
    url: str = Field(default="", pattern=r"^(/.*|http://[^/]+(/.*)?)?$")
    series: dict[MetricSeries, Annotated[str, Field(min_length=1)]] = {}


class ProfileTable(Table):
    """The table `[profile]` of a configuration."""

    store: bool = True


class Deploy(Table):
    """The table `[deploy]` of a configuration."""

    path_prefix: str = ""


class Device(Table):
    """The table `[device]` of a configuration."""

    memory_gb: float | None = Field(default=None, gt=0, le=1_000_000)
    bandwidth_gb_s: float | None = Field(default=None, gt=0, le=1_000_000)
    tflops: float | None = Field(default=None, gt=0, le=1_000_000)


class Document(Table):
    """The top level of a configuration. The predecessor's keys come first, then its code-level ones, then ours."""

    n_particles: int = Field(default=10, ge=1, le=1000)
    iters: int = Field(default=5, ge=1, le=1000)
    ttft_penalty: float | None = Field(default=None, ge=0, le=100)
    tpot_penalty: float | None = Field(default=None, ge=0, le=100)
    success_rate_penalty: float = Field(default=5.0, ge=1, le=1000)
    ttft_slo: TtftLimit | None = None
    tpot_slo: TpotLimit | None = None
    service: Literal["master", "slave"] = "master"
    sample_size: int | None = Field(default=None, ge=1000, le=10_000)

    success_rate_slo: float | None = Field(default=None, gt=0, le=1)
    generate_speed_target: float = Field(default=5300.0, gt=0)
    slo_coefficient: float = Field(default=0.1, ge=0, le=1)
    step_size: float = Field(default=0.6, gt=0, lt=1)
    max_fine_tune: int = Field(default=10, ge=0, le=1000)
    wait_start_time: float | None = Field(default=None, gt=0, le=WEEK)
    particles_time_out: float | None = Field(default=None, gt=0, le=WEEK)
    theory_guided_enable: bool = True
    scaling_coefficient: float = Field(default=1.3, gt=0, le=100)
    mem_coefficient: float = Field(default=0.8, gt=0, le=1)
    use_request_rate_calibration: bool = False

    name: str = Field(default="", max_length=200)
    engine: str | None = None
    benchmark: str | None = None
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    objective: Goal = GENERATE_SPEED
    formula: Literal["hard", "soft"] = "hard"
    e2e_slo: E2eLimit | None = None
    per_device: bool = False
    budget: int | None = Field(default=None, ge=1, le=1_000_000)
    max_hours: float | None = Field(default=None, gt=0, le=8760)
    target: float | None = Field(default=None, gt=0, le=100)
    launch_timeout: float | None = Field(default=None, gt=0, le=WEEK)
    measurement_timeout: float | None = Field(default=None, gt=0, le=WEEK)
    stop_timeout: float = Field(default=60.0, gt=0, le=WEEK)
    device_memory_timeout: float = Field(default=120.0, ge=0, le=WEEK)
    http_timeout: float = Field(default=5.0, gt=0, le=3600)
    stall_timeout: float = Field(default=180.0, gt=0, le=WEEK)
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], Upper] = "INFO"
    backup: bool = False

    data_storage: DataStorage = DataStorage()
    health_check: HealthCheck = HealthCheck()
    search: SearchTable = SearchTable()
    measurement: MeasurementTable = MeasurementTable()
    proof: ProofTable = ProofTable()
    early_stopping: EarlyStoppingTable = EarlyStoppingTable()
    profile: ProfileTable = ProfileTable()
    deploy: Deploy = Deploy()
    device: Device = Device()


def keys(model: type[BaseModel] = Document, table: str = "") -> list[str]:
    """Every dotted key of a model, tables themselves left out: `n_particles`, `search.strategy`..."""
    found: list[str] = []
    for name, field in model.model_fields.items():
        nested = field.annotation
        if isinstance(nested, type) and issubclass(nested, BaseModel):
            found += keys(nested, f"{table}{name}.")
        else:
            found.append(f"{table}{name}")
    return found
