"""What a benchmark client would report of a steady state: requests as quantiles, and reproducible noise. Pure.

The latencies of one measurement are those of `REQUESTS` equally likely requests: waiting times spread around their mean,
the requests sent at the start wait for each other's prompts, and a request's token time grows with the prefill steps that
fall into it. Percentiles and goodput are read from the same requests, so they agree with each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from serviceopt_journal.metric_table import E2EL, LIMITS, TPOT, TTFT, MetricName
from serviceopt_journal.metrics import Latency, Metrics
from serviceoptd.domain.settings import Slo
from serviceoptd.domain.statistics.draws import uniforms
from serviceoptd.simulation.demonstration.engine import Load, Machine, Setting, SteadyState, Workload, steady_state

REQUESTS = 256
PERCENTILES = ("p50", "p90", "p95", "p99")
SPEED_NOISE, TTFT_NOISE, TPOT_NOISE, TAIL_NOISE = 0.03, 0.06, 0.02, 0.12
"""Standard deviations of the logarithm, from one measurement to the next."""

NoiseKey = tuple[int, int, int]
"""Run seed, particle, measurement. Never the attempt: an interrupted measurement done again gives the same."""


def sampled_metrics(
    machine: Machine, setting: Setting, workload: Workload, load: Load, slos: Sequence[Slo], key: NoiseKey | None
) -> Metrics:
    """One measurement of a service that runs with this setting; `key` None: without noise.

    Requests that take longer than the machine's time limit fail; `completed` can be 0.
    """
    state = steady_state(machine, setting, workload, load)
    speed, early, pace, tail = _noise(key)
    ttft, tpot = _requests(state, workload)
    ttft = _spread([value * early for value in ttft], tail)
    tpot = _spread([value * pace for value in tpot], tail)
    tokens = workload.output_tokens
    e2el = [first + each * (tokens - 1) for first, each in zip(ttft, tpot, strict=True)]
    kept = [index for index, value in enumerate(e2el) if value <= machine.request_timeout_s]
    completed = round(workload.num_prompts * len(kept) / REQUESTS)
    share = completed / workload.num_prompts
    throughput = state.request_rate * speed * share
    if not completed:
        kept = list(range(REQUESTS))
    measured: dict[MetricName, list[float]] = {TTFT: ttft, TPOT: tpot, E2EL: e2el}
    limits = {metric: [slo.limit for slo in slos if slo.metric == metric] for metric in LIMITS}
    good = sum(
        all(values[index] <= limit for name, values in measured.items() for limit in limits[name]) for index in kept
    )
    asked = {metric: [slo.statistic for slo in slos if slo.metric == metric] for metric in limits}
    return Metrics(
        generate_speed=throughput * tokens,
        throughput=throughput,
        success_rate=share,
        completed=completed,
        failed=workload.num_prompts - completed,
        duration=workload.num_prompts / (state.request_rate * speed),
        ttft=_latency([ttft[index] for index in kept], asked[TTFT]),
        tpot=_latency([tpot[index] for index in kept], asked[TPOT]),
        e2el=_latency([e2el[index] for index in kept], asked[E2EL]),
        itl=_gaps(state, workload, pace * tail),
        goodput=throughput * good / len(kept),
        input_tokens=completed * workload.input_tokens,
        output_tokens=completed * tokens,
    )


def _requests(state: SteadyState, workload: Workload) -> tuple[list[float], list[float]]:
    """Time to first token and time per output token of each request, in seconds."""
    at_start = min(1.0, state.running / workload.num_prompts) if state.burst else 0.0
    longest = state.stall / (workload.output_tokens * state.step)  # share of a request's time that one stall is
    ttft, tpot = [], []
    for index in range(REQUESTS):
        quantile = (index + 0.5) / REQUESTS
        exponential = -math.log1p(-quantile)  # mean 1
        first = state.prefill * (0.5 + 0.5 * exponential) + state.wait * (0.6 + 0.8 * quantile)
        if (index * 97 % REQUESTS + 0.5) / REQUESTS <= at_start:
            first += 2.0 * state.burst * quantile
        ttft.append(first)
        # another order than above: slow first tokens and slow later tokens are different requests
        other = -math.log1p(-((index * 37 % REQUESTS) + 0.5) / REQUESTS)
        tpot.append(state.step * (1.0 + min(0.6, 0.03 + longest) * (other - 1.0)))
    return ttft, tpot


def _gaps(state: SteadyState, workload: Workload, factor: float) -> Latency:
    """Time between two tokens: mostly a step without prompts, sometimes one with a full chunk."""
    busy = min(1.0, max(0.0, state.step - state.decode_step) / max(state.stall, 1e-9))
    plain, stalled = state.decode_step * factor, (state.decode_step + state.stall) * factor
    return {"mean": state.step * factor} | {
        name: stalled if float(name[1:]) / 100 > 1.0 - busy else plain for name in PERCENTILES
    }


def _spread(values: list[float], factor: float) -> list[float]:
    """The same mean, with the distance from it multiplied; never below a tenth of the mean."""
    mean = sum(values) / len(values)
    return [max(0.1 * mean, mean + (value - mean) * factor) for value in values]


def _latency(values: list[float], asked: Sequence[str]) -> Latency:
    ordered = sorted(values)
    latency = {"mean": sum(ordered) / len(ordered), "min": ordered[0], "max": ordered[-1]}
    for name in dict.fromkeys((*PERCENTILES, *(name for name in asked if name.startswith("p")))):
        latency[name] = _percentile(ordered, float(name[1:]))
    return latency


def _percentile(ordered: list[float], percent: float) -> float:
    position = percent / 100 * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def _noise(key: NoiseKey | None) -> tuple[float, float, float, float]:
    """Factors of speed, first token, later tokens and tails; log-normal, by Box and Muller (1958)."""
    if key is None:
        return 1.0, 1.0, 1.0, 1.0
    seed, particle, measurement = key
    drawn = uniforms(seed, f"simulated measurement {measurement}", particle, 4)
    normals: list[float] = []
    for first, second in ((drawn[0], drawn[1]), (drawn[2], drawn[3])):
        radius = math.sqrt(-2.0 * math.log1p(-first))
        normals += [radius * math.cos(2.0 * math.pi * second), radius * math.sin(2.0 * math.pi * second)]
    deviations = (SPEED_NOISE, TTFT_NOISE, TPOT_NOISE, TAIL_NOISE)
    speed, early, pace, tail = (
        math.exp(deviation * normal) for deviation, normal in zip(deviations, normals, strict=True)
    )
    return speed, early, pace, tail
