"""Profiled batches as columns: what was in each, how long it took, and which run it comes from."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serviceopt_journal.errors import ExitCode, ServiceoptError
from serviceopt_journal.metrics import Metrics
from serviceoptd.simulation.schedulers.vllm_limits import VllmLimits
from serviceoptd.simulation.step_times.columns import COMPOSITION, Column
from serviceoptd.simulation.step_times.windows import WindowedRun
from serviceoptd.simulation.virtual_clock.interface import Request

Progress = Callable[[str, float], None]
"""Told what is done now, and what share of it is done already."""


class ProfileRejected(ServiceoptError):
    """Profiling data that cannot be used. The message begins with the place: `FILE:LINE` where it is one line."""

    exit_code = ExitCode.CONFIGURATION

    def __init__(self, place: object, problem: str, *, hint: str = "") -> None:
        super().__init__(f"{place}: {problem}", hint=hint)


def finite(cell: object) -> float | None:
    """A cell of a file as a number; None where it is none."""
    try:
        value = float(str(cell))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


@dataclass(frozen=True)
class Run:
    """The batches of one recording. Rows are batches in the order of time."""

    name: str  # the file or directory that it was read from, relative to the input
    configuration: str  # runs of the same configuration are never split between training and validation
    framework: str  # mindie or vllm
    composition: Column  # one row a batch, one column for each of COMPOSITION
    seconds: Column
    left_out: int = 0  # batches of the recording that nothing can be learnt from

    def __post_init__(self) -> None:
        if self.composition.shape != (len(self.seconds), len(COMPOSITION)):
            raise ValueError(f"{self.name}: {self.composition.shape} cells for {len(self.seconds)} batches")


@dataclass(frozen=True)
class RecordedLoad:
    """One benchmark of a real client, as the simulator takes it."""

    run: str  # the name of the recording with its steps
    requests: tuple[Request, ...]  # in the order of their arrival
    limits: VllmLimits
    concurrency: int | None
    measured: Metrics


@dataclass(frozen=True)
class Profile:
    """All runs, one after the other, and what the client measured in some of them; then the windows of others.

    A row is a batch or, behind all of these, a window.
    """

    runs: tuple[Run, ...]
    loads: tuple[RecordedLoad, ...] = ()
    windowed: tuple[WindowedRun, ...] = ()

    @property
    def composition(self) -> Column:
        """The composition of every batch, one row each."""
        return np.concatenate([np.zeros((0, len(COMPOSITION))), *(run.composition for run in self.runs)])

    @property
    def seconds(self) -> Column:
        """The duration of every batch (seconds)."""
        return np.concatenate([np.zeros(0), *(run.seconds for run in self.runs)])

    @property
    def lengths(self) -> list[int]:
        """Rows of each run, windowed ones last."""
        return [len(run.seconds) for run in self.runs] + [len(run.windows.seconds) for run in self.windowed]

    def labels(self, names: Sequence[str]) -> NDArray[np.int64]:
        """The number of each row's run among the distinct `names`, one name a run."""
        numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
        return np.repeat(np.array([numbers[name] for name in names], dtype=np.int64), self.lengths)
