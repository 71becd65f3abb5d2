"""What `train`, `profile` and `trust` tell: a latency model's card, recorded steps, and predictions beside measurements.

The card lies in the model's file as well (`daemon/serviceoptd/predicting/model_file.py`).
"""

from __future__ import annotations

import msgspec

from ..values import Configuration


class ErrorLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Errors of a group of batches that were held out; shares, 0.05 is 5 %."""

    batches: int
    mape: float  # mean of |predicted / measured - 1|
    median: float
    p90: float
    bias: float  # sum predicted / sum measured - 1


class Recording(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One run of the training data."""

    name: str
    configuration: str
    framework: str
    batches: int
    left_out: int  # batches with a request of unknown length


class WindowedRecording(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One measurement whose steps were not seen one by one: busy windows of it, and the steps that they hold."""

    name: str
    configuration: str
    windows: int
    steps: int


class BenchmarkErrors(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Errors of one reading of whole benchmarks that were held out; shares of what the client measured."""

    benchmarks: int
    median: float  # of |predicted / measured - 1|
    p90: float
    bias: float  # median of predicted / measured - 1


class ModelCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Everything that one should know before one believes a model.

    `benchmarks`, `windowed` and `windows` are left out where there are none.
    """

    recordings: tuple[Recording, ...]
    batches: int
    seed: int
    split: str  # what was held out: `configuration`, `run` or `time` (fifths of the only run)
    folds: int
    candidates: dict[str, float]  # held out: mean of the MAPE with prefill and of that without
    chosen: str
    by_stage: dict[str, ErrorLine]
    by_size: dict[str, ErrorLine]  # by the number of sequences in a batch
    table_deviation: float  # largest relative difference between the tables and the trees that they replace
    xgboost: str  # the version that trained it
    benchmarks: dict[str, BenchmarkErrors] = {}  # by reading; empty: nothing was held out, or no client measured
    windowed: tuple[WindowedRecording, ...] = ()  # of `--journal`
    windows: ErrorLine | None = None  # of the seconds of whole windows; its `batches` are windows


class Trained(msgspec.Struct, frozen=True, kw_only=True):
    """What `train` wrote, and how good it is."""

    model: str  # path of the file
    card_page: str  # path of the card as a page to read
    card: ModelCard


class Profiled(msgspec.Struct, frozen=True, kw_only=True):
    """The recordings that there are after `profile`."""

    directory: str
    steps: dict[str, int]  # by load, of those that were measured now
    kept: tuple[str, ...]  # loads that were there already
    left_out: dict[str, str]  # by load or configuration: why it did not work


class ReadingErrors(msgspec.Struct, frozen=True, kw_only=True):
    """How far off the predictions of one reading are. Shares: 0.05 is 5 %."""

    reading: str  # such as `generate_speed` or `ttft p99`
    points: int
    median: float  # of |predicted / measured - 1|
    p90: float
    bias: float  # median of predicted / measured - 1
    rank: float | None  # Spearman's correlation; `null`: too few points, or all alike
    spread: float | None  # median deviation of a repeat from the median of its configuration; `null`: no repeats


class ComparedPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration that was measured, and what the model says of it."""

    particle: int
    configuration: Configuration
    values: dict[str, tuple[float, float]]  # by reading: measured and predicted, in the units of the metrics
    outside: str  # how it goes beyond the model's training data; empty: it does not
    refused: str  # why it could not be predicted; empty: it could


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What `trust` found: a model's predictions beside what a run measured."""

    run: int
    simulated: bool  # compared with a model, not with a service
    scheduler: str | None  # the program that composed the batches; `null`: ours
    errors: tuple[ReadingErrors, ...]
    points: tuple[ComparedPoint, ...]
