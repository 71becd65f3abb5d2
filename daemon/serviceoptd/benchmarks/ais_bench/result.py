"""Reading what `ais_bench --mode perf` left in its work directory, and finding out when it lies.

The format as of AISBench 3.1: `W/<time>/performances/<model>/<data set>.csv` with a row for each metric, and `.json` beside
it with the counts and rates, both with their units in the text ("12.3 ms", "1.2 req/s"). It exits 0 when part of the
requests failed; the statistics are then over the others.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from serviceopt_journal import foreign_files
from serviceopt_journal.foreign_files import UnfitFile
from serviceopt_journal.foreign_text import json_value
from serviceopt_journal.metric_table import (
    ALL_LATENCIES,
    COMPLETED,
    DURATION,
    E2EL,
    FAILED,
    GENERATE_SPEED,
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    THROUGHPUT,
    TPOT,
    TTFT,
    LatencyName,
    keys_in_results,
)
from serviceopt_journal.metrics import Latency, Metrics, latency_fields
from serviceoptd.benchmarks.ais_bench import flags
from serviceoptd.benchmarks.ais_bench.requests import latencies_in
from serviceoptd.benchmarks.interface import ClientOutcome
from serviceoptd.benchmarks.result_checks import LARGEST_RESULT, believe, ended_well, result_in, telling_line
from serviceoptd.domain.statistics.order_statistics import tails
from serviceoptd.toolkit.extraction import IN_TEXT, Kind, json_in, quantity
from serviceoptd.toolkit.interface import UnusableResult

TABLE, SUMMARY = "result.csv", "result.json"
"""Names of the copies that are kept with the journal: AISBench names its own directory by the clock."""

STATISTICS = frozenset({"mean", "min", "max", "p50", "p75", "p90", "p99"})
"""What its table has of each latency."""

STAGE = "total"
_KEYS = keys_in_results("ais_bench")
_LATENCIES = {_KEYS[name].names[0]: name for name in ALL_LATENCIES if name in _KEYS}
_COLUMNS = {"Average": "mean", "Min": "min", "Max": "max", "Median": "p50"}
_ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|\([A-Z]|>)")


def read_result(outcome: ClientOutcome, work_directory: Path, concurrency: int) -> Metrics:
    """The metrics in seconds, tokens/s and requests/s. Copies the two files to where they are kept from.

    Raises:
        UnusableResult: as `Benchmark.read` says.
    """
    try:
        ended_well(outcome)
        table = _table(work_directory)
        files = {TABLE: result_in(table, outcome), SUMMARY: result_in(table.with_suffix(".json"), outcome)}
        for name, content in files.items():
            foreign_files.replace(outcome.order.workplace.directory / name, content)
        summary = files[SUMMARY].decode(errors="replace")
        metrics = metrics_of(files[TABLE].decode(errors="replace"), summary)
        told = _told(json_in(summary))
        _same_measurement(metrics, told, outcome.plan.num_prompts, concurrency, table)
        metrics = believe(metrics, outcome.order.objective)
        if not outcome.order.details:
            return metrics
        return replace(metrics, tails=tails(latencies_in(table, metrics.completed), outcome.order.objective.slos))
    except UnusableResult as error:
        raise UnusableResult(
            _without_colours(error.message) + flags.way_out(error.message) + _task_log(work_directory),
            hint=error.hint,
            metrics=error.metrics,
        ) from error


def metrics_of(table: str, summary: str) -> Metrics:
    """The metrics that the two texts tell, counts checked.

    Raises:
        UnusableResult: a value is missing or has no unit, or the counts do not add up.
    """
    told, latencies = _told(json_in(summary)), _latencies(table)
    sent, completed = (_number(told, name, "count") for name in ("Total Requests", _name(COMPLETED, told)))
    failed = _number(told, _name(FAILED, told), "count")
    if not all(count.is_integer() for count in (sent, completed, failed)) or completed + failed != sent or sent == 0:
        raise UnusableResult(
            f"the counts do not add up: {completed:g} completed + {failed:g} failed are not {sent:g} sent"
        )
    return Metrics(
        generate_speed=_number(told, _name(GENERATE_SPEED, told), "tokens/s"),
        throughput=_number(told, _name(THROUGHPUT, told), "requests/s"),
        success_rate=completed / sent,
        completed=round(completed),
        failed=round(failed),
        duration=_number(told, _name(DURATION, told), "time"),
        **latency_fields(latencies),
        input_tokens=_tokens(told, INPUT_TOKENS),
        output_tokens=_tokens(told, OUTPUT_TOKENS),
    )


def _name(metric: str, told: Mapping[str, Any]) -> str:
    return _KEYS[metric].name_in(told)


def _tokens(told: Mapping[str, Any], metric: str) -> int | None:
    name = _name(metric, told)
    return round(_number(told, name, "count")) if name in told else None


def _table(work_directory: Path) -> Path:
    """Where the table of the one run in this directory is, or would be; the summary lies beside it."""
    runs = sorted(path for path in work_directory.glob("*") if path.is_dir())
    if len(runs) > 1:
        raise UnusableResult(
            f"{work_directory} holds {len(runs)} runs ({', '.join(run.name for run in runs)}), but only this run is expected"
        )
    place = runs[0] if runs else work_directory
    tables = sorted(place.glob("performances/*/*.csv"))
    if len(tables) > 1:
        raise UnusableResult(
            f"{place} holds {len(tables)} results: {', '.join(table.stem for table in tables)}",
            hint="measure one model configuration with one data set",
        )
    return tables[0] if tables else place / "performances" / "MODEL" / "DATASET.csv"


def _latencies(table: str) -> dict[LatencyName, Latency]:
    try:
        rows = list(csv.DictReader(io.StringIO(table, newline=None)))
    except csv.Error as error:
        raise UnusableResult(f"the table is not CSV: {error}") from error
    stages = {str(row.get("Stage")) for row in rows}
    if STAGE not in stages:
        told = f"only the stages {', '.join(sorted(stages))}" if rows else "no row"
        raise UnusableResult(f"the table has {told}, not `{STAGE}`", hint="do not change the summarizer")
    found: dict[LatencyName, Latency] = {name: {} for name in _LATENCIES.values()}
    for row in rows:
        name = row.get("Performance Parameters") or ""
        if row.get("Stage") == STAGE and name in _LATENCIES:
            found[_LATENCIES[name]] = {
                statistic: quantity(cell, IN_TEXT, "time", f"{name} {column}")
                for column, cell in row.items()
                if (statistic := _statistic(column))
            }
    if missing := [_KEYS[name].names[0] for name in (TTFT, E2EL) if not found[name]]:
        raise UnusableResult(f"the table has no row {', '.join(missing)}")
    if found[TTFT] == found[E2EL] and not found[TPOT]:
        found[TTFT] = {}  # answers in one piece: nothing was told before the end, so there is no time to first token
    return found


def _statistic(column: str | None) -> str:
    if column and (match := re.fullmatch(r"P0*(\d{1,2})", column)):
        return f"p{match[1]}"
    return _COLUMNS.get(column or "", "")


def _told(document: Any) -> Mapping[str, Any]:
    """Metric -> value of the whole measurement."""
    if not isinstance(document, dict):
        raise UnusableResult("the result is not a JSON object")
    return {
        name: value[STAGE] if isinstance(value, dict) and STAGE in value else value for name, value in document.items()
    }


def _number(told: Mapping[str, Any], name: str, kind: Kind) -> float:
    if name not in told:
        raise UnusableResult(f"the result has no {name}")
    return quantity(told[name], "" if kind == "count" else IN_TEXT, kind, name)


def _same_measurement(metrics: Metrics, told: Mapping[str, Any], asked: int, concurrency: int, table: Path) -> None:
    sent = metrics.completed + metrics.failed
    if sent < asked:
        raise UnusableResult(
            f"{sent} requests were sent, expected {asked}",
            hint="the data set has fewer requests than num_prompts: make it larger, or num_prompts smaller",
            metrics=metrics,
        )
    if sent > asked and _conversations(table) != asked:
        raise UnusableResult(f"the result belongs to another measurement: it counts {sent} requests, expected {asked}")
    if "Max Concurrency" in told and _number(told, "Max Concurrency", "count") != concurrency:
        raise UnusableResult(
            f"the result belongs to another measurement: at most {told['Max Concurrency']} requests at a time, "
            f"expected {concurrency}"
        )


def _conversations(table: Path) -> int:
    """How many prompts the details tell of: each turn of a conversation is a request, and has its prompt's number."""
    found: set[Any] = set()
    for details in table.parent.glob("*_details.jsonl"):
        try:
            for line in foreign_files.lines(details, LARGEST_RESULT):
                found.add(json_value(line).get("id"))
        except (ValueError, AttributeError, TypeError, UnfitFile):
            return -1
    return len(found)


def _task_log(work_directory: Path) -> str:
    """What the log of the process that sent the requests says: the program's own output only says where it is."""
    for log in sorted(work_directory.glob("*/logs/infer/**/*.out")):
        if said := _without_colours(telling_line(log)):
            return f" (its log {log.name}: {said})"
    return ""


def _without_colours(text: str) -> str:
    return _ESCAPES.sub("", text)
