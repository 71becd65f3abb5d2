"""Reading what `vllm bench serve` saved, and finding out when it lies.

The format as of vLLM 0.32.0: latencies in milliseconds, counts and rates at the top level. A client whose requests all
failed exits 0 with latencies of 0.0; an older version has no `failed`.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from serviceopt_journal import foreign_files
from serviceopt_journal.foreign_text import json_value
from serviceopt_journal.metric_table import (
    ALL_LATENCIES,
    COMPLETED,
    DURATION,
    E2EL,
    FAILED,
    GENERATE_SPEED,
    GOODPUT,
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    THROUGHPUT,
    TPOT,
    TTFT,
    LatencyName,
    keys_in_results,
)
from serviceopt_journal.metrics import Latency, Metrics, latency_fields
from serviceoptd.benchmarks.interface import ClientOutcome
from serviceoptd.benchmarks.result_checks import believe, ended_well, result_in
from serviceoptd.benchmarks.vllm_benchmark.flags import SPELLINGS
from serviceoptd.domain.statistics.order_statistics import tails
from serviceoptd.toolkit.arguments import value_of
from serviceoptd.toolkit.interface import UnusableResult

SEED_KEY = "serviceopt_seed"
"""The client copies `--metadata` into its result, so that a result can be told from another measurement's."""

_KEYS = keys_in_results("vllm_benchmark")
_LATENCIES = {name: re.compile(_KEYS[name].pattern()) for name in ALL_LATENCIES if name in _KEYS}
_NAMES = {"median": "p50", "p0": "min", "p100": "max"}


def read_result(outcome: ClientOutcome, path: Path) -> Metrics:
    """The metrics in seconds, tokens/s and requests/s.

    Raises:
        UnusableResult: as `Benchmark.read` says.
    """
    ended_well(outcome)
    document = parsed(result_in(path, outcome), path.name)
    argv = outcome.plan.command.argv if outcome.plan.command else ()
    _same_measurement(document, argv, outcome)
    metrics = believe(metrics_of(document), outcome.order.objective)
    if "itls" not in document:
        return metrics
    latencies = latencies_of(document)
    if outcome.order.details:
        keep_small(document, path)
    return replace(metrics, tails=tails(latencies, outcome.order.objective.slos))


def parsed(content: bytes, name: str) -> Mapping[str, Any]:
    """The JSON object in this file.

    Raises:
        UnusableResult: it is empty, cut off, or not an object.
    """
    try:
        document = json_value(content)
    except ValueError as error:
        raise UnusableResult(f"{name} ({len(content)} bytes) is not valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise UnusableResult(f"{name} is not a JSON object")
    return document


def metrics_of(document: Mapping[str, Any]) -> Metrics:
    """The metrics that the document tells, counts checked, statistics as they are.

    Raises:
        UnusableResult: a key is missing or not a number, or the counts do not add up.
    """
    sent, completed = count(document, "num_prompts"), count(document, _name(COMPLETED, document))
    failed = count(document, _name(FAILED, document)) if _name(FAILED, document) in document else sent - completed
    if sent <= 0 or completed + failed != sent:
        raise UnusableResult(
            f"the counts do not add up: {completed} completed + {failed} failed are not {sent} sent",
            hint="a data set with fewer requests than num_prompts gives this",
        )
    if completed == 0:
        raise UnusableResult(
            f"none of {sent} requests completed, and the client exited 0",
            hint="its output and the service's log show the answers",
        )
    latencies: dict[LatencyName, Latency] = {name: {} for name in ALL_LATENCIES}
    for key, (name, pattern) in itertools.product(document, _LATENCIES.items()):
        if match := pattern.fullmatch(key):
            latencies[name][_NAMES.get(match[1], match[1])] = number(document, key) / 1000.0
    return Metrics(
        generate_speed=number(document, _name(GENERATE_SPEED, document)),
        throughput=number(document, _name(THROUGHPUT, document)),
        success_rate=completed / sent,
        completed=completed,
        failed=failed,
        duration=number(document, _name(DURATION, document)),
        **latency_fields(latencies),
        goodput=next((number(document, key) for key in _KEYS[GOODPUT].names if document.get(key) is not None), None),
        input_tokens=_counted(INPUT_TOKENS, document),
        output_tokens=_counted(OUTPUT_TOKENS, document),
    )


def _name(metric: str, document: Mapping[str, Any]) -> str:
    return _KEYS[metric].name_in(document)


def _counted(metric: str, document: Mapping[str, Any]) -> int | None:
    name = _name(metric, document)
    return count(document, name) if name in document else None


def latencies_of(document: Mapping[str, Any]) -> dict[str, list[float]]:
    """Seconds of each completed request, in the order of sending, from what `--save-detailed` adds.

    As the client computes its percentiles: a request of a single token has no TPOT.

    Raises:
        UnusableResult: a list is missing, of another length than the others, or not of numbers.
    """
    found: dict[str, list[float]] = {TTFT: [], TPOT: [], E2EL: []}
    try:
        lists = [document[key] for key in ("output_lens", "ttfts", "itls", "errors")]
        sent = document.get(
            "start_times", range(len(lists[0]))
        )  # older versions list them in the order of sending only
        for _, tokens, first, gaps, error in sorted(
            zip(sent, *lists, strict=True), key=lambda request: float(request[0])
        ):
            decoding = math.fsum(gaps)
            if error or not tokens:
                continue
            found[TTFT].append(float(first))
            found[E2EL].append(first + decoding)
            if tokens > 1:
                found[TPOT].append(decoding / (tokens - 1))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UnusableResult(f"the single requests cannot be read: {error!r}") from error
    if not all(math.isfinite(seconds) for seconds in itertools.chain.from_iterable(found.values())):
        raise UnusableResult("the single requests have times that are not numbers")
    return found


def keep_small(document: Mapping[str, Any], path: Path) -> None:
    """Writes the result anew, with the decoding time of each request in place of every gap and without the texts."""
    small = {key: value for key, value in document.items() if key not in ("itls", "generated_texts")}
    decoding = [math.fsum(gaps) for gaps in document["itls"]]
    foreign_files.replace(path, json.dumps({**small, "decoding_times": decoding}).encode())


def number(document: Mapping[str, Any], key: str) -> float:
    """A finite number that is not negative.

    Raises:
        UnusableResult: it is something else, or not there.
    """
    if key not in document:
        raise UnusableResult(f"the result has no {key}")
    value = document[key]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnusableResult(f"{key} is {value!r}, not a number")
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found) or found < 0:
        raise UnusableResult(f"{key} is {value}")
    return found


def count(document: Mapping[str, Any], key: str) -> int:
    """A whole number; raises as `number` does."""
    value = number(document, key)
    if not value.is_integer():
        raise UnusableResult(f"{key} is {value}, not a count")
    return int(value)


def _same_measurement(document: Mapping[str, Any], argv: tuple[str, ...], outcome: ClientOutcome) -> None:
    rate = value_of("--request-rate", argv, SPELLINGS)
    limit = value_of("--max-concurrency", argv, SPELLINGS)
    expected = {
        "model_id": value_of("--model", argv, SPELLINGS),
        "num_prompts": float(outcome.plan.num_prompts),
        "max_concurrency": float(limit) if limit else None,
        "request_rate": float(rate) if rate else math.inf,
        SEED_KEY: str(outcome.order.seed)
        if value_of("--metadata", argv, SPELLINGS) == f"{SEED_KEY}={outcome.order.seed}"
        else None,
    }
    for key, wanted in expected.items():
        if key not in document or (wanted is None and key != "max_concurrency"):
            continue
        found = document[key]
        if isinstance(wanted, float):
            found = _as_float(found)
        same = math.isclose(found, wanted, rel_tol=1e-6) if isinstance(wanted, float) else found == wanted
        if not same:
            raise UnusableResult(
                f"the result belongs to another measurement: its {key} is {document[key]!r}, expected {wanted!r}"
            )


def _as_float(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return math.nan
