"""What a benchmark would report, by a trained model on the virtual time line, and where that should not be believed."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from serviceopt_journal.errors import EnvironmentLacks, InvalidConfiguration
from serviceopt_journal.events import Configuration
from serviceopt_journal.foreign_files import content
from serviceopt_journal.metrics import Metrics
from serviceoptd.domain.settings import Field, Slo
from serviceoptd.predicting.data_set import lengths as of_files
from serviceoptd.predicting.data_set.records import NoDataSet
from serviceoptd.predicting.model_file import LARGEST_MODEL, ModelRejected, load
from serviceoptd.predicting.section import SimulatedSection
from serviceoptd.simulation.schedulers.limits import Composer, Limits, limits, of_configuration, scheduler_of
from serviceoptd.simulation.step_times.latency_model import TrainedModel
from serviceoptd.simulation.virtual_benchmark import Recorder, Traffic, run_benchmark
from serviceoptd.simulation.virtual_clock.lengths import RandomLengths, SampledLengths
from serviceoptd.simulation.virtual_clock.overheads import Overheads

LENGTH_COLUMNS = ("input_tokens", "output_tokens")
LONGEST = 2**31 - 1  # tokens of a prompt or an answer


@dataclass(frozen=True)
class Prediction:
    """What the client would report. `remark`: where that goes beyond what the model was trained on; empty: nowhere."""

    metrics: Metrics
    remark: str
    beyond: float = 0.0  # share of the engine's time there


@dataclass(frozen=True)
class Predictor:
    """`[simulated]` with its files read."""

    options: SimulatedSection
    trained: TrainedModel
    lengths: RandomLengths | SampledLengths | tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, options: SimulatedSection, directory: Path) -> Predictor:
        """Reads what `options` name, relative to `directory`. A data set that cannot be read leaves the lengths drawn.

        Raises:
            EnvironmentLacks: a file cannot be read, or is not a latency model.
            InvalidConfiguration: no model is named, or the lengths are no table of lengths.
        """
        return cls(options, trained_model(options, directory), _lengths(options, directory))

    def limits(
        self, configuration: Configuration, fields: Sequence[Field], reported: Mapping[str, Any] | None = None
    ) -> Limits:
        """The limits that the scheduler is given.

        `reported`: limits that the service itself told; they win over `[simulated.limits]`.

        Raises:
            MissingLimits: one that has no default is told nowhere.
            InvalidConfiguration: the engine would not start with them.
        """
        told = {**self.options.limits, **(reported or {})}
        scheduler = self.options.scheduler
        return limits(scheduler, of_configuration(scheduler, told, configuration, fields))

    def predict(
        self,
        limits: Limits,
        *,
        concurrency: int | None,
        request_rate: float | None,
        num_prompts: int,
        slos: Sequence[Slo] = (),
        seed: int = 0,
        composer: Composer = scheduler_of,
    ) -> Prediction:
        """Predicts the metrics of one benchmark. Equal arguments give equal results."""
        traffic = Traffic(
            num_prompts=num_prompts,
            lengths=self.lengths,
            concurrency=concurrency if concurrency is not None else self.options.concurrency,
            request_rate=request_rate if request_rate is not None else self.options.request_rate,
            burstiness=self.options.burstiness,
            ramp_up=self.options.ramp_up.ramp_up() if self.options.ramp_up and request_rate is None else None,
        )
        recorder = Recorder(self.trained.model)
        own = self.options.overheads
        overheads = own.overheads() if own is not None else self.trained.overheads or Overheads()
        metrics = run_benchmark(traffic, limits, recorder, overheads=overheads, slos=slos, seed=seed, composer=composer)
        return Prediction(metrics, *self._beyond(recorder))

    def _beyond(self, recorder: Recorder) -> tuple[str, float]:
        """The remark, with the longest of the batches beyond the training data, and their share of the engine's time."""
        if not recorder.steps:
            return "", 0.0
        seconds = np.array(recorder.seconds)
        beyond = self.trained.validity.beyond(np.array(recorder.steps, dtype=float))
        if not beyond.any():
            return "", 0.0
        share = float(seconds[beyond].sum() / seconds.sum())
        longest = recorder.steps[int(np.argmax(np.where(beyond, seconds, -1.0)))]
        reasons = "; ".join(self.trained.validity.outside(longest))
        told = f"outside the latency model's training data for {_percent(share)} of the engine's time: {reasons}"
        return told, share


def _lengths(
    options: SimulatedSection, directory: Path
) -> RandomLengths | SampledLengths | tuple[tuple[int, int], ...]:
    if options.lengths:
        return lengths_in(content_of(directory / options.lengths), options.lengths)
    if options.data_set:
        with suppress(NoDataSet):  # told before the start
            found = of_files.data_set(options.data_set, directory)
            counted = options.data_set.kind == "guidellm"
            return SampledLengths(found.pairs, options.data_set.shuffled, found.turns, found.times, counted)
    return RandomLengths(
        input_tokens=options.input_tokens,
        output_tokens=options.output_tokens,
        range_ratio=options.range_ratio,
        prefix_tokens=options.prefix_tokens,
        prefixes=options.prefixes,
        inputs=options.input_distribution.distribution() if options.input_distribution else None,
        outputs=options.output_distribution.distribution() if options.output_distribution else None,
        added_tokens=of_files.added_tokens(options.chat_template, directory)[0] if options.chat_template else 0,
        turns=options.turns,
    )


def trained_model(options: SimulatedSection, directory: Path) -> TrainedModel:
    """The model that `options` name.

    Raises:
        EnvironmentLacks: the file cannot be read, or is not a latency model.
        InvalidConfiguration: none is named.
    """
    if options.model is None:
        raise InvalidConfiguration("no latency model is named", hint="`serviceoptctl train` makes one")
    path = directory / options.model
    try:
        found = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    return _loaded(path, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=4)
def _loaded(path: Path, changed: int, size: int) -> TrainedModel:
    try:
        return load(path)
    except ModelRejected as error:  # what was checked when the run was submitted, and has changed since, holds the run
        raise EnvironmentLacks(error.message, hint=error.hint) from error
    except OSError as error:
        raise _unreadable(path, error) from error


def fingerprint(options: SimulatedSection, directory: Path) -> dict[str, str]:
    """SHA-256 of the files that a prediction depends on, by key; of one that is not named, nothing.

    Raises:
        EnvironmentLacks: one cannot be read.
    """
    named = {"model": options.model, "lengths": options.lengths}
    found = {key: hashlib.sha256(content_of(directory / name)).hexdigest() for key, name in named.items() if name}
    if options.data_set and not options.lengths:
        found |= of_files.fingerprint(options.data_set, directory)
    elif options.chat_template and not options.lengths:
        found["chat_template"] = str(of_files.added_tokens(options.chat_template, directory)[0])
    return found


def content_of(path: Path) -> bytes:
    """The bytes of the file.

    Raises:
        EnvironmentLacks: it cannot be read.
    """
    try:
        return content(path, LARGEST_MODEL, through_links=True)
    except OSError as error:
        raise _unreadable(path, error) from error


def lengths_in(content: bytes, name: str) -> tuple[tuple[int, int], ...]:
    """Pairs of input and output tokens, from a CSV file with these two columns.

    Raises:
        InvalidConfiguration: what is wrong, and in which line.
    """
    lines = content.decode("utf-8-sig", errors="replace").splitlines()
    reader = csv.DictReader(lines)
    try:
        if missing := [column for column in LENGTH_COLUMNS if column not in (reader.fieldnames or ())]:
            raise InvalidConfiguration(f"{name}:1: lacks the column {', '.join(missing)}", hint=_LENGTHS_HINT)
        pairs = tuple(_pair(row, f"{name}:{reader.line_num}") for row in reader)
    except csv.Error as error:
        raise InvalidConfiguration(f"{name}:{reader.line_num + 1}: is not CSV: {error}", hint=_LENGTHS_HINT) from error
    if not pairs:
        raise InvalidConfiguration(f"{name}: no lengths found", hint=_LENGTHS_HINT)
    return pairs


def _pair(row: Mapping[str, str | None], place: str) -> tuple[int, int]:
    try:
        pair = int(row["input_tokens"] or ""), int(row["output_tokens"] or "")
    except ValueError as error:
        raise InvalidConfiguration(f"{place}: not two whole numbers", hint=_LENGTHS_HINT) from error
    if not all(1 <= tokens <= LONGEST for tokens in pair):
        raise InvalidConfiguration(f"{place}: a length is not between 1 and {LONGEST}", hint=_LENGTHS_HINT)
    return pair


_LENGTHS_HINT = f"a line for each request, below the header `{','.join(LENGTH_COLUMNS)}`"


def _unreadable(path: Path, error: OSError) -> EnvironmentLacks:
    reason = (error.strerror or str(error)).lower()
    return EnvironmentLacks(f"{path}: cannot be read: {reason}", hint="`serviceoptctl train` makes a latency model")


def _percent(share: float) -> str:
    return "less than 1 %" if share < 0.01 else f"{share:.0%}"
