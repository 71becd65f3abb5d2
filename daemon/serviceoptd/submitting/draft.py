"""A run on its way into the journal: what each step of the pipeline hands to the next one. Nothing here has effects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from serviceopt_journal.documents.requests import Submission
from serviceoptd.benchmarks.interface import Benchmark
from serviceoptd.config.load import Loaded
from serviceoptd.config.problems import ConfigProblem
from serviceoptd.domain.settings import RunSettings
from serviceoptd.domain.space.space import Space
from serviceoptd.engines.interface import Engine, ServicePlan
from serviceoptd.evaluating.trials import search_space
from serviceoptd.toolkit.interface import Problem, Workplace

NOWHERE = Path("/nonexistent")
"""The directory of a workplace in which nothing is made: nothing is written before everything is checked."""


class Installed(Protocol):
    """Where the classes of engines and clients come from: the daemon's context, or `config.plugins` itself."""

    @property
    def engine_class(self) -> Callable[[str], type[Engine]]:
        """The engine's class of a name."""

    @property
    def benchmark_class(self) -> Callable[[str], type[Benchmark]]:
        """The client's class of a name."""


@dataclass(frozen=True)
class Draft:
    """What is known of a run so far. Each step gives a new one with what it has found; none changes the old one."""

    loaded: Loaded  # the configuration as it was read
    settings: RunSettings  # those that the run will keep: as they were read, and what was found on this machine
    engine: Engine
    benchmark: Benchmark
    workplace: Workplace  # the submitter's directory and what children find in their environment; nothing is made there
    told: tuple[Problem, ...] = ()  # by the engine, about its target fields on this machine
    problems: tuple[ConfigProblem, ...] = ()  # values that contradict each other
    remarks: tuple[ConfigProblem, ...] = ()  # legal, and probably not what was meant
    plan: ServicePlan | None = None  # the first particle's service

    @cached_property
    def space(self) -> Space:
        """The space that is really searched: with the engine's repairs."""
        return search_space(Space.of(self.settings.fields), self.engine)

    @property
    def unusable(self) -> tuple[ConfigProblem, ...]:
        """The reasons why it cannot be run: placeholders first and alone, then contradictions; empty when it can be."""
        return self.loaded.placeholders or self.problems


@dataclass(frozen=True)
class Prepared:
    """A submission that was found to be good. Nothing has been written yet."""

    submission: Submission
    draft: Draft
    seed: int
    parts: dict[str, str]  # what a measured value depends on, secrets masked
    measurement_identity: str
    run_identity: str

    @property
    def settings(self) -> RunSettings:
        """The settings that the run will keep."""
        return self.draft.settings

    @property
    def warnings(self) -> list[str]:
        """What the submitter should know, though it stops nothing."""
        loaded = self.draft.loaded
        assumed = [loaded.assumed] if loaded.assumed else []
        told = [f"{each.key}: {each.message}" for each in self.draft.told]
        return [*assumed, *(str(warning) for warning in loaded.warnings), *told]
