"""Fits what surrounds the engine: the recorded requests run on the virtual time line until the client's figures come out.

Pure but for the progress. See `simulation.overheads` for what is fitted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from serviceopt_journal.documents.models import BenchmarkErrors
from serviceopt_journal.metric_table import TPOT, TTFT, in_words
from serviceopt_journal.metrics import Metrics
from serviceoptd.simulation.schedulers.vllm import VllmScheduler
from serviceoptd.simulation.step_times.columns import Column
from serviceoptd.simulation.step_times.profile_data import RecordedLoad
from serviceoptd.simulation.virtual_clock.client_metrics import client_metrics
from serviceoptd.simulation.virtual_clock.interface import StepTimes
from serviceoptd.simulation.virtual_clock.overheads import Overheads
from serviceoptd.simulation.virtual_clock.timeline import simulate

UNITS: Mapping[str, float] = {
    "delay": 1e-3,
    "work_per_request": 1e-3,
    "work_per_prompt_token": 1e-6,
    "return_delay": 1e-3,
    "work_per_token": 1e-5,
}
"""Seconds of a step in each direction: smaller ones would be lost among the jumps that another batch makes."""

ROUNDS = 8
SHARES = (1.0, 0.5, 0.25, 0.125)  # of the way, where all of it leads uphill
ENOUGH = 0.999  # a round that leaves more than this of the error is the last
MOST_REQUESTS = 10_000  # to simulate for one evaluation; further loads are passed over

READINGS: Mapping[str, Callable[[Metrics], float]] = {
    "throughput": lambda metrics: metrics.generate_speed,
    in_words("mean", TPOT): lambda metrics: metrics.tpot.get("mean", 0.0),
    in_words("mean", TTFT): lambda metrics: metrics.ttft.get("mean", 0.0),
    in_words("p99", TTFT): lambda metrics: metrics.ttft.get("p99", 0.0),
}
WEIGHTS: Mapping[str, float] = dict(zip(READINGS, (1.0, 1.0, 1.0, 0.5), strict=True))
"""Of the errors that are made small. The 99th percentile scatters, and tells how long the last of a burst waits."""


def simulated(load: RecordedLoad, step_times: StepTimes, overheads: Overheads) -> Metrics:
    """What the client would have reported of these very requests."""
    scheduler = VllmScheduler(load.requests, load.limits)
    timeline = simulate(load.requests, scheduler, step_times, overheads=overheads, concurrency=load.concurrency)
    return client_metrics(load.requests, timeline)


def fit_overheads(loads: Sequence[RecordedLoad], step_times: StepTimes) -> Overheads:
    """The overheads, none below 0, with the least weighted squares of relative errors. Equal data give equal results.

    Gauss and Newton's method with the constraint of Lawson and Hanson (1974), from 0 on; a step that makes it worse is
    halved.
    """
    from scipy.optimize import nnls  # here, because a model that is only used does without it

    units, some = np.array(list(UNITS.values())), _some(loads)
    found = np.zeros(len(units))
    off = _errors(some, step_times, found)
    for _ in range(ROUNDS):
        moved = [_errors(some, step_times, found + step) for step in np.diag(units)]
        slopes = np.column_stack(moved) - off[:, None]  # for one unit each
        aim = nnls(slopes, slopes @ (found / units) - off)[0] * units
        before = float(off @ off)
        for share in SHARES:
            tried = found + share * (aim - found)
            errors = _errors(some, step_times, tried)
            if errors @ errors < before:
                found, off = tried, errors
                break
        if off @ off > ENOUGH * before:
            break
    return _overheads(found)


def held_out_errors(
    loads: Sequence[RecordedLoad], parts: Sequence[int], model_without: Callable[[int], StepTimes]
) -> dict[str, BenchmarkErrors]:
    """How far off benchmarks are whose part nothing was learnt from: neither step times nor overheads.

    Args:
        loads: the benchmarks.
        parts: the part of each.
        model_without: step times that were learnt without this part.
    """
    pairs: dict[str, list[tuple[float, float]]] = {name: [] for name in READINGS}
    for part in sorted(set(parts)):
        inside = [load for load, its in zip(loads, parts, strict=True) if its == part]
        outside = [load for load, its in zip(loads, parts, strict=True) if its != part]
        if not outside:
            return {}
        model = model_without(part)
        overheads = fit_overheads(outside, model)
        for load in inside:
            predicted = simulated(load, model, overheads)
            for name, reading in READINGS.items():
                if (measured := reading(load.measured)) > 0:
                    pairs[name].append((reading(predicted), measured))
    return {name: _line(found) for name, found in pairs.items() if found}


def _line(pairs: Sequence[tuple[float, float]]) -> BenchmarkErrors:
    predicted, measured = np.array(pairs).T
    off = predicted / measured - 1
    return BenchmarkErrors(
        benchmarks=len(pairs),
        median=float(np.median(np.abs(off))),
        p90=float(np.quantile(np.abs(off), 0.9)),
        bias=float(np.median(off)),
    )


def _some(loads: Sequence[RecordedLoad]) -> Sequence[RecordedLoad]:
    """Every load, or every second, third... one, so that an evaluation stays short."""
    every = -(-sum(len(load.requests) for load in loads) // MOST_REQUESTS)
    return loads[::every]


def _overheads(values: Column) -> Overheads:
    return Overheads(**dict(zip(UNITS, values.tolist(), strict=True)))


def _errors(loads: Sequence[RecordedLoad], step_times: StepTimes, values: Column) -> Column:
    """Logarithms of simulated / measured, so that half and double weigh alike; 0 where nothing was measured."""
    overheads, found = _overheads(values), []
    for load in loads:
        metrics = simulated(load, step_times, overheads)
        for name, weight in WEIGHTS.items():
            ours, theirs = READINGS[name](metrics), READINGS[name](load.measured)
            found.append(weight * math.log(ours / theirs) if ours > 0 and theirs > 0 else 0.0)
    return np.array(found)
