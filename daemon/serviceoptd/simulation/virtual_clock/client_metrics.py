"""What `vllm bench serve` would print of a simulated benchmark, by its definitions (vllm/benchmarks/serve.py, 0.32). Pure.

TTFT from the request's sending, which a limited concurrency delays; TPOT of a request that has more than one token; ITL
every gap of every request; percentiles as numpy's, interpolated linearly between the two nearest values; all of them over
the requests that succeeded, throughput over the whole duration, which begins before the first request is sent.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate

from serviceopt_journal.metric_table import E2EL, TPOT, TTFT
from serviceopt_journal.metrics import Latency, Metrics
from serviceoptd.domain.settings import Slo
from serviceoptd.domain.statistics.order_statistics import tails
from serviceoptd.simulation.virtual_clock.interface import Request
from serviceoptd.simulation.virtual_clock.timeline import NEVER, Timeline

PERCENTILES = ("p50", "p90", "p95", "p99")


def client_metrics(requests: Sequence[Request], timeline: Timeline, slos: Sequence[Slo] = ()) -> Metrics:
    """The client's figures, in seconds and per second. `slos` add their percentiles, and decide what is goodput."""
    served = [number for number, last in enumerate(timeline.last_token) if last != NEVER]
    first = [timeline.first_token[number] - timeline.sent[number] for number in served]
    whole = [timeline.last_token[number] - timeline.sent[number] for number in served]
    lengths = [requests[number].output_tokens for number in served]
    later = [
        (end - start) / (length - 1) if length > 1 else 0.0
        for start, end, length in zip(first, whole, lengths, strict=True)
    ]
    values = {TTFT: first, TPOT: later, E2EL: whole}
    limits = [(values[slo.metric], slo.limit) for slo in slos if slo.metric in values]
    good = sum(all(measured[place] <= limit for measured, limit in limits) for place in range(len(served)))
    asked = {name: [slo.statistic for slo in slos if slo.metric == name] for name in values}
    several = [value for value, length in zip(later, lengths, strict=True) if length > 1]
    duration = timeline.ended or 1.0  # nothing was served: rates of 0
    return Metrics(
        generate_speed=sum(lengths) / duration,
        throughput=len(served) / duration,
        success_rate=len(served) / len(requests) if requests else 0.0,
        completed=len(served),
        failed=len(requests) - len(served),
        duration=timeline.ended,
        ttft=latency(first, None, asked[TTFT]),
        tpot=latency(several, None, asked[TPOT]),
        e2el=latency(whole, None, asked[E2EL]),
        itl=latency(timeline.gaps, timeline.gap_counts),
        goodput=good / duration,
        input_tokens=sum(requests[number].prompt_tokens for number in served),
        output_tokens=sum(lengths),
        tails=tails({TTFT: first, TPOT: several, E2EL: whole}, slos),
    )


def latency(values: Sequence[float], counts: Sequence[int] | None, asked: Iterable[str] = ()) -> Latency:
    """Mean, least, greatest and percentiles of values that occur `counts` times each (None: once); {} of none."""
    if not values:
        return {}
    reached: Sequence[int]  # how many values are up to each of `ordered`
    if counts is None:
        ordered, reached = sorted(values), range(1, len(values) + 1)
        total, sum_of_all = len(values), math.fsum(values)
    else:
        pairs = sorted(zip(values, counts, strict=True))
        ordered = [value for value, _ in pairs]
        reached = list(accumulate(count for _, count in pairs))
        total, sum_of_all = reached[-1], math.fsum(value * count for value, count in pairs)

    def at(rank: int) -> float:
        return ordered[bisect_right(reached, rank)]

    found = {"mean": sum_of_all / total, "min": ordered[0], "max": ordered[-1]}
    for name in dict.fromkeys((*PERCENTILES, *(name for name in asked if name.startswith("p")))):
        position = float(name[1:]) / 100 * (total - 1)
        below = math.floor(position)
        low, high = at(below), at(min(below + 1, total - 1))
        found[name] = low + (high - low) * (position - below)
    return found
