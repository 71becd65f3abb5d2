"""What `serviceoptctl check --json` prints: what a configuration means, or what is wrong with it."""

from __future__ import annotations

from typing import Any

import msgspec

from ..values import Value


class CheckedSlo(msgspec.Struct, frozen=True, kw_only=True):
    """A statistic of a latency that must not exceed a limit."""

    metric: str  # `ttft`, `tpot` or `e2el`
    statistic: str  # `mean`, or a percentile such as `p99`
    limit: float  # seconds


class CheckedObjective(msgspec.Struct, frozen=True, kw_only=True):
    """What is maximised, and what must hold."""

    maximise: str  # `generate_speed`, `throughput` or `goodput`
    per_device: bool
    success_rate: float  # 0..1, the least that must be reached
    slos: tuple[CheckedSlo, ...]


class CheckedField(msgspec.Struct, frozen=True, kw_only=True):
    """One parameter, with the values that it may have."""

    name: str
    dtype: str
    min: float
    max: float
    dtype_param: Any  # as in a target field of a run
    searched: bool  # else it is fixed, or derived from others
    restart: bool  # whether another value needs the service started again
    first: Value  # what is measured first


class CheckedSpace(msgspec.Struct, frozen=True, kw_only=True):
    """The search space, with its size."""

    dimensions: int  # parameters that are searched
    cardinality: int | None  # configurations; `null`: more than can be counted
    fields: tuple[CheckedField, ...]


class CheckedBudget(msgspec.Struct, frozen=True, kw_only=True):
    """What the search may spend."""

    evaluations: int  # configurations
    max_hours: float | None  # `null`: no limit


class CheckedSearch(msgspec.Struct, frozen=True, kw_only=True):
    """The way in which the space is searched."""

    strategy: str
    n_particles: int
    repeats: int  # measurements of each configuration
    rules: tuple[str, ...]  # that may reject a configuration before it is measured


class CheckedSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What a configuration means."""

    file: str  # empty: the defaults alone
    engine: str
    benchmark: str
    assumed: str  # what is taken for granted because nothing says otherwise; empty: nothing
    managed: bool  # whether we start the service; else it is only measured
    objective: CheckedObjective
    space: CheckedSpace
    current_setting_known: bool  # else the middle of the space is measured first
    budget: CheckedBudget
    search: CheckedSearch


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """A command that the first evaluation would start, with its secrets masked."""

    role: str  # `service`, `client` or `stop`
    argv: tuple[str, ...]
    working_directory: str
    environment: dict[str, str] = {}  # what is set beyond the submitter's
    files: dict[str, str] = {}  # path -> content that would be written before, edits included
    ready: str = ""  # when the service counts as ready, in words


class ConfigurationProblem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong, or worth knowing."""

    file: str
    line: int  # from 1; 0: of the command line or of the environment
    key: str
    message: str
    allowed: str = ""  # what may stand there
    column: int = 0  # from 1; 0: not known


class CheckedConfiguration(CheckedSummary, frozen=True, kw_only=True):
    """A configuration that can be run."""

    remarks: tuple[ConfigurationProblem, ...]  # legal, and probably not what was meant
    commands: tuple[Planned, ...] | None  # `null` without `--dry-run`
    exit_code: int  # 0


class Unusable(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration that cannot be run."""

    problems: tuple[ConfigurationProblem, ...]  # placeholders first and alone, then contradictions
    exit_code: int  # 3
