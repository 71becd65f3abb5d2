"""Reading what `guidellm run` saved, and finding out when it lies.

The format as of GuideLLM 0.8.1 (`metadata.version` 2). Everything is computed from the single requests, which the file
always lists, because its own statistics answer other questions: of `time_per_output_token_ms` the first token is a part,
`inter_token_latency_ms` is weighted by tokens, and a warm-up is cut off by time and not by requests.

* TTFT: `time_to_first_token_ms`. TPOT: `inter_token_latency_ms` of the request, that is (last token - first token) /
  (tokens - 1), what vLLM calls TPOT. End to end: `request_latency`, in seconds unlike the others.
* Duration: from the start of the first measured request to the end of the last one.
* Percentiles interpolate linearly between the two nearest requests (as numpy and `vllm bench serve` do).

A client whose requests all failed exits 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from serviceopt_journal.foreign_text import json_value
from serviceopt_journal.metric_table import ALL_LATENCIES, LatencyName, ResultKeys, keys_in_results
from serviceopt_journal.metrics import Latency, Metrics, latency_fields
from serviceoptd.benchmarks.interface import ClientOutcome, MeasurementOrder
from serviceoptd.benchmarks.result_checks import believe, ended_well, result_in
from serviceoptd.benchmarks.vllm_benchmark.result import parsed
from serviceoptd.domain.settings import Objective
from serviceoptd.domain.statistics.order_statistics import tails
from serviceoptd.toolkit.arguments import value_of
from serviceoptd.toolkit.interface import UnusableResult

PERCENTILES = (50.0, 90.0, 95.0, 99.0)
STATES = ("successful", "errored", "incomplete")
FLAGS = {"--profile": "profile", "--seed": "seed", "--backend": "backend"}
"""What we asked for -> where the result repeats it."""

_KEYS = keys_in_results("guidellm")
FIELDS: Mapping[LatencyName, ResultKeys] = {name: _KEYS[name] for name in ALL_LATENCIES if name in _KEYS}
"""Our metric -> the field of a request."""
_SECONDS = {"s": 1.0, "ms": 1e-3}

COMPARED = frozenset({"kind", "streams", "rate", "max_concurrency", "value", "target", "model", "request_format"})

Request = Mapping[str, Any]


def read_result(outcome: ClientOutcome, path: Path) -> Metrics:
    """The metrics in seconds, tokens/s and requests/s.

    Raises:
        UnusableResult: as `Benchmark.read` says.
    """
    ended_well(outcome)
    document = parsed(result_in(path, outcome), path.name)
    _same_measurement(document, outcome.plan.command.argv if outcome.plan.command else ())
    requests = _requests(document)
    warm_up = min(outcome.order.warm_up_requests, outcome.plan.num_prompts)
    sent = sum(len(found) for found in requests.values())
    if sent != outcome.plan.num_prompts + warm_up:
        raise UnusableResult(
            f"the result counts {sent} requests, expected {outcome.plan.num_prompts + warm_up}",
            hint="a data set with fewer requests than num_prompts gives this",
        )
    in_order = sorted(
        ((state, request) for state, found in requests.items() for request in found),
        key=lambda each: _number(each[1], "request_start_time", math.inf),
    )
    return believe(_metrics(list(islice(in_order, warm_up, None)), outcome.order), outcome.order.objective)


def _requests(document: Mapping[str, Any]) -> dict[str, list[Request]]:
    """Every request by what became of it, in agreement with the counts beside them."""
    benchmarks = document.get("benchmarks")
    if not isinstance(benchmarks, list) or len(benchmarks) != 1:
        count = len(benchmarks) if isinstance(benchmarks, list) else "no"
        raise UnusableResult(f"the result holds {count} benchmarks, not one")
    try:
        totals = benchmarks[0]["metrics"]["request_totals"]
        found = {state: list(benchmarks[0]["requests"][state] or []) for state in STATES}
        counted = {state: totals[state] for state in STATES}
    except (KeyError, TypeError) as error:
        raise UnusableResult(f"the result has no {error}: another format than that of GuideLLM 0.8") from error
    for state in STATES:
        if len(found[state]) != counted[state]:
            raise UnusableResult(f"{counted[state]} requests were {state}, and {len(found[state])} are listed")
    return found


def _metrics(measured: Sequence[tuple[str, Request]], order: MeasurementOrder) -> Metrics:
    good = [request for state, request in measured if state == "successful"]
    if not good:
        said = next((text for _, request in measured if (text := _error(request))), "")
        raise UnusableResult(
            f"none of {len(measured)} requests completed" + (f": {said}" if said else ", and the client exited 0"),
            hint="the service's log may say why",
        )
    duration = _duration([request for _, request in measured])
    tokens = sum(_number(request, "output_tokens", 0.0) for request in good)
    values: dict[str, list[float]] = {
        metric: [seconds for request in good if (seconds := _seconds(request, metric)) is not None] for metric in FIELDS
    }
    latencies: dict[LatencyName, Latency] = {metric: _statistics(values[metric], order) for metric in FIELDS}
    return Metrics(
        generate_speed=tokens / duration,
        throughput=len(good) / duration,
        success_rate=len(good) / len(measured),
        completed=len(good),
        failed=len(measured) - len(good),
        duration=duration,
        **latency_fields(latencies),
        goodput=_goodput(good, order.objective, duration),
        input_tokens=round(sum(_number(request, "prompt_tokens", 0.0) for request in good)),
        output_tokens=round(tokens),
        tails=tails(values, order.objective.slos),
    )


def _duration(measured: Sequence[Request]) -> float:
    """Seconds from the first start to the last end; a request that was cancelled before it was sent has neither."""
    starts = [_number(request, "request_start_time", math.inf) for request in measured]
    ends = [_number(request, "request_end_time", 0.0) for request in measured]
    duration = max(ends) - min(starts)
    if not 0 < duration < math.inf:
        raise UnusableResult(f"{len(measured)} requests took {duration:g} s together")
    return duration


def _goodput(good: Sequence[Request], objective: Objective, duration: float) -> float | None:
    """Requests/s that kept every limit, each request by itself; None where there is no limit."""
    if not objective.slos:
        return None
    limits = [(slo.metric, slo.limit) for slo in objective.slos]
    # a request of a single token has no TPOT, and breaks no limit of it
    kept = sum(all((_seconds(request, metric) or 0.0) <= limit for metric, limit in limits) for request in good)
    return kept / duration


def _statistics(values: list[float], order: MeasurementOrder) -> Latency:
    if not values:
        return {}
    values = sorted(values)
    asked = {slo.statistic for slo in order.objective.slos if slo.statistic.startswith("p")}
    percentiles = sorted({*PERCENTILES, *(float(statistic[1:]) for statistic in asked)})
    return {
        "mean": math.fsum(values) / len(values),
        "min": values[0],
        "max": values[-1],
        **{f"p{percent:g}": _percentile(values, percent) for percent in percentiles},
    }


def _percentile(ascending: Sequence[float], percent: float) -> float:
    place = (len(ascending) - 1) * percent / 100.0
    below = math.floor(place)
    above = min(below + 1, len(ascending) - 1)
    return ascending[below] + (ascending[above] - ascending[below]) * (place - below)


def _seconds(request: Request, metric: LatencyName) -> float | None:
    field, factor = FIELDS[metric].names[0], _SECONDS[FIELDS[metric].unit]
    return None if request.get(field) is None else _number(request, field, 0.0) * factor


def _number(request: Request, field: str, absent: float) -> float:
    value = request.get(field)
    if value is None:
        return absent
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise UnusableResult(f"{field} of a request is {value!r}, not a number that it can be")
    return float(value)


def _error(request: Request) -> str:
    information = request.get("info")
    text = information.get("error") if isinstance(information, dict) else None
    return text.splitlines()[0][:200] if isinstance(text, str) and text else ""


def _same_measurement(document: Mapping[str, Any], argv: Sequence[str]) -> None:
    """What GuideLLM says that it was told must be what we told it."""
    configuration = document.get("config")
    said = configuration.get("spec") if isinstance(configuration, dict) else None
    if not isinstance(said, dict):
        return
    for flag, place in FLAGS.items():
        found = said.get(place)
        for key, wanted in json_value(value_of(flag, argv) or "{}").items():
            if isinstance(found, dict) and key in COMPARED and found.get(key, wanted) != wanted:
                raise UnusableResult(
                    f"the result belongs to another measurement: its {place}.{key} is {found[key]!r}, expected {wanted!r}"
                )
