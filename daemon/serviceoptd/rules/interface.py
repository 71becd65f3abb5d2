"""What a rejection rule is: it gives a proposed configuration up before its expensive evaluation. Read this first.

A rule judges from theory (memory, lower bounds), from experience, or from the results so far. It is pure: what it says
depends on its arguments alone, so that a run which was killed and resumed rejects what the uninterrupted one would have
rejected. A rule that learns does so from `facts.results`, each time anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal, Protocol

from serviceopt_journal.events import Configuration
from serviceopt_journal.metrics import Metrics
from serviceoptd.domain.settings import RunSettings
from serviceoptd.domain.space.space import Space
from serviceoptd.simulation.advice.simulator import Simulator

Kind = Literal["theory", "experience", "measured", "simulated"]
"""What a rule judges from: arithmetic of model and machine, what people know, the results of the run, or a simulator."""

RefutedBy = Literal["start", "result"]
"""What shows that a rule of theory is wrong: a service that it would have rejected starts, or keeps every objective."""


@dataclass(frozen=True)
class Result:
    """What became of a configuration that was admitted to evaluation."""

    particle: int
    configuration: Configuration
    metrics: Metrics | None  # None: it failed
    error: str  # why it failed; empty when it did not
    fitness: float  # smaller is better; 0 or below: every objective was kept (docs/search.md)
    feasible: bool
    kv_blocks: int | None = None  # as the engine reported it
    objective: float | None = None  # what is maximised, in its own unit; None: it failed
    cause: str = ""  # the kind of its failure (domain/failures.py); empty: not known, or none


@dataclass(frozen=True)
class Facts:
    """What a rule may know: what is searched, what the run was told, what has been measured so far."""

    space: Space  # its `fields`, with bounds and current values
    settings: (
        RunSettings  # the objective, and the sections of engine and client as `engine_options`, `benchmark_options`
    )
    results: tuple[Result, ...]  # in the order of the particles' numbers
    simulator: Simulator | None = None  # that advises this run

    @cached_property
    def mean_prompt(self) -> float | None:
        """Tokens of a prompt, by the results so far: the smallest mean of them; None where no client told any."""
        told = [
            result.metrics.input_tokens / result.metrics.completed
            for result in self.results
            if result.metrics is not None and result.metrics.input_tokens and result.metrics.completed
        ]
        return min(told, default=None)

    @cached_property
    def reported(self) -> tuple[tuple[int, Result], ...]:
        """KV blocks that an engine has reported, with the result of that service; in the order of the results."""
        return tuple((result.kv_blocks, result) for result in self.results if result.kv_blocks is not None)

    def options(self, rule: str) -> dict[str, object]:
        """`[search.options.<rule>]` of the configuration: a rule's own keys."""
        own = self.settings.search.options.get(rule, {})
        return dict(own) if isinstance(own, dict) else {}


@dataclass(frozen=True)
class Rejection:
    """Why a configuration is not worth its evaluation."""

    reason: str  # one sentence with the numbers that it rests on
    predicted: Metrics | None = None  # what it would have given; shown in the CSV as a prediction
    remark: str = ""  # why that should be believed less than usual


class Rule(Protocol):
    """One reason to give a configuration up."""

    name: ClassVar[str]
    # `kind: ClassVar[Kind]` beside it is optional, and goes into the event;
    # `refuted_by: ClassVar[RefutedBy]` too, for rules of theory: "result" where it is not given

    def __init__(self) -> None: ...

    def judge(self, configuration: Configuration, facts: Facts) -> Rejection | None:
        """Judges one configuration; None: it may be evaluated, as far as this rule is concerned."""
