"""What a model would have said of configurations that were measured, and how far off it is."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from serviceopt_journal.documents.models import ReadingErrors
from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.events import Configuration
from serviceopt_journal.foreign_text import whole_number
from serviceopt_journal.metric_table import E2EL, GENERATE_SPEED, THROUGHPUT, TPOT, TTFT, LatencyName, reading
from serviceopt_journal.metrics import Metrics, latency_of
from serviceoptd.domain.load import load_of
from serviceoptd.domain.objective import aggregate
from serviceoptd.domain.settings import ModelFacts
from serviceoptd.domain.state import Particle, RunState
from serviceoptd.predicting.prediction import Predictor
from serviceoptd.predicting.real_vllm_scheduler import composing
from serviceoptd.predicting.section import SimulatedSection
from serviceoptd.simulation.schedulers.limits import (
    BLOCK_SIZE,
    KV_BLOCKS,
    Composer,
    MissingLimits,
    scheduler_of,
)
from serviceoptd.simulation.schedulers.vllm_limits import VllmLimits
from serviceoptd.simulation.virtual_clock.lengths import RandomLengths

DRAWN = 5
"""Benchmarks of a prediction, whose median counts: the client's arrivals and lengths are not known."""
FEWEST_RANKED = 3  # points below which a rank correlation says nothing

COMPARED_STATISTICS: tuple[tuple[LatencyName, str], ...] = (
    *((TTFT, "mean"), (TTFT, "p99")),
    *((TPOT, "mean"), (TPOT, "p99")),
    (E2EL, "mean"),
)


def _statistic(metrics: Metrics, name: LatencyName, statistic: str) -> float | None:
    return latency_of(metrics, name).get(statistic)


READINGS: dict[str, Callable[[Metrics], float | None]] = {
    GENERATE_SPEED: lambda metrics: metrics.generate_speed,
    THROUGHPUT: lambda metrics: metrics.throughput,
    **{
        reading(name, statistic): partial(_statistic, name=name, statistic=statistic)
        for name, statistic in COMPARED_STATISTICS
    },
}
"""What is compared, in tokens/s, requests/s and seconds; only what the client told."""


@dataclass(frozen=True)
class Point:
    """A measured configuration and what the model says of it. Without `predicted`, `refused` says why not."""

    particle: int
    configuration: Configuration
    measured: tuple[Metrics, ...]  # its repeats
    median: Metrics
    predicted: Metrics | None
    remark: str = ""
    refused: str = ""

    def pair(self, reading: str) -> tuple[float, float] | None:
        """Measured and predicted; None where one of them is not told, or is 0."""
        ours = READINGS[reading](self.predicted) if self.predicted else None
        theirs = READINGS[reading](self.median)
        return (theirs, ours) if ours and theirs and ours > 0 and theirs > 0 else None


def predictor_for(
    run: RunState, *, model: str | None, table: Mapping[str, Any] | None, directory: Path
) -> tuple[Predictor, bool]:
    """What predicts a run, and whether the lengths of its requests are told.

    Args:
        run: the run; one on the simulated service tells its own `[simulated]`.
        model: path of the model, relative to `directory`; None: the one that the table names.
        table: `[simulated]` of a configuration; None: the run's own, or none.
        directory: of the user.

    Raises:
        InvalidConfiguration: no model is named.
        EnvironmentLacks: a file cannot be read, or is not a latency model.
    """
    options: dict[str, Any] = dict(table or {})
    base = directory
    if table is None and run.settings.engine == "simulated":
        options, base = dict(run.settings.engine_options), Path(run.working_directory or "/")
    told = bool(options)
    if model is not None:
        options["model"] = str(directory / model)
    if not options.get("model"):
        raise InvalidConfiguration(
            "no latency model is named", hint="--model FILE; `serviceoptctl train` makes one from profiling data"
        )
    if not told and run.settings.engine.startswith("mindie"):
        options["scheduler"] = "mindie"
    return Predictor.of(SimulatedSection.model_validate(options), base), told


def composer_of(program: Path | None) -> AbstractContextManager[Composer]:
    """What composes the batches, until the block is left: vLLM's own scheduler, of this `vllm` program; None: ours.

    Raises:
        EnvironmentLacks: that program cannot be started.
    """
    if program is None:
        return nullcontext(scheduler_of)
    return composing(program.absolute(), environment=os.environ, working_directory=Path.cwd())


def points(
    run: RunState,
    predictor: Predictor,
    *,
    simulated: bool,
    lengths_from_metrics: bool,
    composer: Composer = scheduler_of,
) -> list[Point]:
    """Every configuration of the run that was measured, in the order of proposal.

    Args:
        run: the run.
        predictor: the model with everything that the journal does not tell.
        simulated: also those of a simulated service.
        lengths_from_metrics: each request as long as the mean of those that were measured; else as `predictor` says.
        composer: of the batches; ours, or vLLM itself.

    Raises:
        MissingLimits: a limit of the scheduler is told neither by the run nor by the predictor.
        InvalidConfiguration: the lengths are asked of a client that does not tell them.
    """
    own = [
        particle
        for particle in run.particles.values()
        if particle.measurements
        and particle.imported is None
        and particle.matched is None
        and (simulated or not particle.simulated)
    ]
    return [_point(run, particle, predictor, lengths_from_metrics, composer) for particle in own]


def errors(found: Sequence[Point]) -> list[ReadingErrors]:
    """One line for each reading that was measured and predicted."""
    lines = []
    for name in READINGS:
        pairs = [pair for point in found if (pair := point.pair(name)) is not None]
        if not pairs:
            continue
        measured, predicted = np.array(pairs).T
        off = predicted / measured - 1
        lines.append(
            ReadingErrors(
                reading=name,
                points=len(pairs),
                median=float(np.median(np.abs(off))),
                p90=float(np.quantile(np.abs(off), 0.9)),
                bias=float(np.median(off)),
                rank=rank_correlation(measured, predicted),
                spread=_spread(found, name),
            )
        )
    return lines


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's rho, equal values sharing their rank; None of fewer than three points, or where all are alike."""
    ranks = [_ranks(values) for values in (first, second)]
    if len(first) < FEWEST_RANKED or any(np.ptp(each) == 0 for each in ranks):
        return None
    return float(np.corrcoef(*ranks)[0, 1])


def _ranks(values: Sequence[float]) -> Any:
    _, place, counts = np.unique(np.asarray(values, dtype=float), return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def _spread(found: Iterable[Point], reading: str) -> float | None:
    deviations: list[float] = []
    for point in found:
        values = [value for metrics in point.measured if (value := READINGS[reading](metrics))]
        if len(values) > 1:
            middle = float(np.median(values))
            deviations += [abs(value / middle - 1) for value in values]
    return float(np.median(deviations)) if deviations else None


def _point(
    run: RunState, particle: Particle, predictor: Predictor, lengths_from_metrics: bool, composer: Composer
) -> Point:
    median = particle.metrics
    assert median is not None  # noqa: S101 - it has measurements
    predictor = replace(predictor, lengths=_lengths_of(median)) if lengths_from_metrics else predictor
    point = Point(particle.number, particle.configuration, particle.measurements, median, predicted=None)
    try:
        told = told_limits(run.settings.model_facts, *_kv_cache(run, particle), predictor)
        limits = predictor.limits(particle.configuration, run.settings.fields, told)
    except MissingLimits:
        raise
    except InvalidConfiguration as refused:
        return replace(point, refused=refused.message)
    concurrency, request_rate = load_of(particle.configuration)
    drawn = [
        predictor.predict(
            limits,
            concurrency=concurrency,
            request_rate=request_rate,
            num_prompts=(median.completed + median.failed) or particle.num_prompts or 1,
            slos=run.settings.objective.slos,
            seed=seed,
            composer=composer,
        )
        for seed in range(DRAWN)
    ]
    return replace(
        point,
        predicted=aggregate([each.metrics for each in drawn]),
        remark=max(drawn, key=lambda each: each.beyond).remark,
    )


def told_limits(
    facts: ModelFacts, kv_blocks: int | None, block_size: int | None, predictor: Predictor
) -> Mapping[str, Any]:
    """What a run knows of its service's limits: fixed options, and the KV blocks that it reported (None: it did not).

    Blocks and the tokens of one belong together: a number that was reported is of blocks of the reported size.
    """
    options = predictor.options
    told: dict[str, Any] = {name: value for name, value in facts.arguments.items() if name not in options.limits}
    if kv_blocks is not None:
        told[KV_BLOCKS[options.scheduler]] = kv_blocks
        if block_size is not None:
            told[BLOCK_SIZE[options.scheduler]] = block_size
    if options.scheduler == "vllm" and not {"max_model_len"} & {*told, *options.limits}:
        size = whole_number(str({**options.limits, **told}.get("block_size"))) or VllmLimits.block_size
        # told nowhere: whatever the KV cache can hold, since the requests that were served did fit
        blocks = int({**options.limits, **told}.get("kv_blocks", 1))
        told["max_model_len"] = facts.longest or (blocks - 1) * size
    return told


def _kv_cache(run: RunState, particle: Particle) -> tuple[int | None, int | None]:
    evaluation = run.evaluations.get(particle.evaluation) if particle.evaluation is not None else None
    return (evaluation.kv_blocks, evaluation.kv_block_size) if evaluation is not None else (None, None)


def _lengths_of(metrics: Metrics) -> RandomLengths:
    if not metrics.input_tokens or not metrics.output_tokens or not metrics.completed:
        raise InvalidConfiguration(
            "the client did not report the lengths of requests and answers",
            hint="name a configuration with -c whose [simulated] gives input_tokens and output_tokens, or lengths",
        )
    return RandomLengths(
        input_tokens=max(1, round(metrics.input_tokens / metrics.completed)),
        output_tokens=max(1, round(metrics.output_tokens / metrics.completed)),
    )
