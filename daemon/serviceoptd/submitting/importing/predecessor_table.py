"""The predecessor's result file (`data_storage_*.csv`) as rows: what was set, what came out, and what is wrong with it.

Reads text and nothing else. Columns: docs/migration.md.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.events import Configuration
from serviceopt_journal.metric_table import ALL_LATENCIES, GENERATE_SPEED, METRIC, SUCCESS_RATE, THROUGHPUT, LatencyName
from serviceopt_journal.metrics import NOT_TOLD, Latency, Metrics, latency_fields
from serviceoptd.config.fields import CANONICAL
from serviceoptd.domain.table import METRIC_COLUMNS, OWN_COLUMNS, RECORD_COLUMNS
from serviceoptd.submitting.importing.cells import (
    NotCsv,
    commas_are_points,
    finite,
    known,
    lines,
    plain,
    title,
    values,
)

MOST_ROWS = 10_000
MOST_PROBLEMS = 20
TEXTS = frozenset({"error", "backup"})
IGNORED_COLUMNS = frozenset({*OWN_COLUMNS, "case_id"})
NO_RESULT = f"the imported file has no {GENERATE_SPEED} for it"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BOOLS = {"true": True, "false": False}
_STATISTIC = re.compile(r"(?P<of>[a-z]\w*?)_(?P<statistic>max|min|mean|avg|average|median|std|p\d+(?:\.\d+)?)")
_LATENCIES: Mapping[str, LatencyName] = {
    column: name
    for name in ALL_LATENCIES
    for column in (name, METRIC[name].column, *METRIC[name].older_columns)
    if column
}
"""Columns of statistics in older releases: whose they are."""
_KEPT_STATISTIC = re.compile(r"max|median|p\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Row:
    """One row of the imported table. `metrics` None: it tells no result, and `error` says why."""

    line: int  # in the file, from 1
    configuration: Configuration
    metrics: Metrics | None
    error: str
    backup: str
    seconds: float
    measured: bool
    fitness: float | None
    num_prompts: int | None


@dataclass(frozen=True)
class Table:
    """The rows in the order of the file, the parameters' names in the order of its columns, and what is odd about it."""

    rows: tuple[Row, ...]
    parameters: tuple[str, ...]
    warnings: tuple[str, ...] = ()


@dataclass
class _Problems:
    """What is wrong, each with its line."""

    file: str
    found: list[str] = field(default_factory=list)

    def add(self, line: int, message: str) -> None:
        self.found.append(f"{self.file}:{line}: {message}")

    def refuse(self) -> None:
        if self.found:
            more = len(self.found) - MOST_PROBLEMS
            shown = [*self.found[:MOST_PROBLEMS], *([f"... and {more} more"] if more > 0 else [])]
            hint = "nothing was imported; `serviceoptctl docs migration` describes the columns of a data_storage_*.csv"
            raise InvalidConfiguration("\n".join(shown), hint=hint)


def read(text: str, file: str) -> Table:
    """The table in the text of a CSV file; `file` names it in messages.

    Raises:
        InvalidConfiguration: it is no result file; every problem with its line, and the columns that are missing.
    """
    problems = _Problems(file)
    try:
        found = list(lines(text, (*METRIC_COLUMNS, *RECORD_COLUMNS)))
    except NotCsv as error:
        problems.add(error.line, f"is not CSV: {error.message}")
        found = []
    problems.refuse()
    if not found:
        problems.add(1, "is empty")
        problems.refuse()
    header = [CANONICAL.get(title(name), title(name)) for name in found[0][1]]
    records = [(line, [known(cell) for cell in cells]) for line, cells in found[1:]]
    statistics = _statistics(header)
    parameters, warnings = _columns(header, statistics, problems)
    problems.refuse()
    for line, cells in records:
        if len(cells) != len(header):
            problems.add(line, f"{len(cells)} cells, where the header has {len(header)} columns")
    if not records:
        problems.add(found[0][0], "has no row below its header")
    if len(records) > MOST_ROWS:
        problems.add(records[MOST_ROWS][0], f"more than {MOST_ROWS} rows")
    problems.refuse()
    places = {name: position for position, name in enumerate(header)}
    numeric = [place for name, place in places.items() if name not in TEXTS]
    commas = commas_are_points(cells[place] for _, cells in records for place in numeric)
    columns = {
        name: values([cells[places[name]] for _, cells in records], comma_is_point=commas) for name in parameters
    }
    empty = [name for name, column in columns.items() if all(value is None for value in column)]
    kept = tuple(name for name in parameters if name not in empty)
    rows = []
    for index, (line, cells) in enumerate(records):
        told = {
            name: cells[place] if name in TEXTS else plain(cells[place], comma_is_point=commas)
            for name, place in places.items()
        }
        configuration = {name: value for name in kept if (value := columns[name][index]) is not None}
        rows.append(_row(line, told, configuration, statistics, problems))
    problems.refuse()
    warnings += [f"{file}: the column {name} is empty, and left out" for name in empty]
    return Table(tuple(rows), kept, tuple(warnings))


def _statistics(header: Sequence[str]) -> dict[str, tuple[str, str]]:
    """The columns of older releases that hold further statistics: what of, and which; no parameter is called so.

    They stand before the parameters. What several statistics are of may be told plainly as well: `prefill_batch_size`.
    """
    found = {name: (match["of"], match["statistic"]) for name in header if (match := _STATISTIC.fullmatch(name))}
    several = {of for of, _ in found.values() if sum(of == other for other, _ in found.values()) > 1}
    plain = {name: (name, "mean") for name in header if name in several and name not in METRIC_COLUMNS}
    return plain | {name: told for name, told in found.items() if told[0] in several or told[0] in _LATENCIES}


def _columns(
    header: Sequence[str], statistics: Mapping[str, tuple[str, str]], problems: _Problems
) -> tuple[tuple[str, ...], list[str]]:
    """The columns that hold parameters: unknown ones before the record's columns. Those behind are left out."""
    fixed = {*METRIC_COLUMNS, *RECORD_COLUMNS, *statistics}
    warnings: list[str] = []
    if GENERATE_SPEED not in header:
        problems.add(1, f"no column {GENERATE_SPEED}: is this a data_storage_*.csv?")
        return (), warnings
    if twice := sorted({name for name in header if name and header.count(name) > 1}):
        problems.add(1, f"more than one column {', '.join(twice)}")
    end = min((position for position, name in enumerate(header) if name in RECORD_COLUMNS), default=len(header))
    unknown = [(position, name) for position, name in enumerate(header) if name and name not in fixed | IGNORED_COLUMNS]
    parameters = tuple(name for position, name in unknown if position < end)
    if wrong := [name for name in parameters if not _NAME.fullmatch(name)]:
        problems.add(1, f"{', '.join(map(repr, wrong))} cannot be a parameter: a name has letters, digits and _")
    if not parameters:
        problems.add(1, "no column of a parameter, such as MAX_NUM_SEQS or max_batch_size, before the column error")
    if missing := [name for name in (*METRIC_COLUMNS, *RECORD_COLUMNS) if name not in header]:
        warnings.append(f"{problems.file}: no column {', '.join(missing)}: treated as unknown")
    if unused := [name for name, told in statistics.items() if not _is_kept(*told)]:
        warnings.append(f"{problems.file}: {', '.join(unused)} left out: statistics that are not used")
    if behind := [name for position, name in unknown if position >= end]:
        warnings.append(f"{problems.file}: {', '.join(behind)} left out: unknown columns behind the parameters")
    return parameters, warnings


def _is_kept(of: str, statistic: str) -> bool:
    return of in _LATENCIES and bool(_KEPT_STATISTIC.fullmatch(statistic))


def _row(
    line: int,
    told: Mapping[str, str],
    configuration: Configuration,
    statistics: Mapping[str, tuple[str, str]],
    problems: _Problems,
) -> Row:
    numbers = {name: _number(line, name, told.get(name, ""), problems) for name in (*METRIC_COLUMNS, "duration")}
    latencies: dict[LatencyName, Latency] = {name: _mean(numbers.get(METRIC[name].column)) for name in ALL_LATENCIES}
    for name, (of, statistic) in statistics.items():
        seconds = _number(line, name, told[name], problems) if _is_kept(of, statistic) else None
        if seconds is not None:
            latencies[_LATENCIES[of]][statistic] = seconds
    speed, success = numbers[GENERATE_SPEED], numbers[SUCCESS_RATE]
    if success is not None and success > 1:
        problems.add(line, f"{SUCCESS_RATE} {success:g} is not between 0 and 1")
    prompts = finite(told.get("num_prompts", ""))
    if prompts is not None and (prompts < 0 or prompts != int(prompts)):
        problems.add(line, f"num_prompts {prompts:g} is not a number of requests")
    real = told.get("real_evaluation", "").lower() or "true"
    if real not in {**_BOOLS, "1": True, "0": False}:
        problems.add(line, f"real_evaluation {real!r} is neither True nor False")
    measured = real in ("true", "1")
    sent = int(prompts) if prompts else 0
    completed = round(sent * success) if success is not None else 0
    metrics = None if speed is None else Metrics(
        generate_speed=speed,
        throughput=_or_not_told(numbers[THROUGHPUT]),
        success_rate=_or_not_told(success),
        completed=completed,
        failed=sent - completed if success is not None else 0,
        duration=0.0,
        **latency_fields(latencies),
    )  # fmt: skip
    return Row(
        line=line,
        configuration=configuration,
        metrics=metrics,
        error=told.get("error", "") or (NO_RESULT if metrics is None else ""),
        backup=told.get("backup", ""),
        seconds=numbers["duration"] or 0.0,
        measured=measured,
        fitness=finite(told.get("fitness", "")),
        num_prompts=sent or None,
    )


def _number(line: int, name: str, cell: str, problems: _Problems) -> float | None:
    """None where it is not told: empty, infinite or not a number, as the predecessor writes of what failed."""
    if not cell:
        return None
    try:
        number = float(cell)
    except ValueError:
        problems.add(line, f"{name} {cell[:40]!r} is not a number")
        return None
    if not math.isfinite(number):
        return None
    if number < 0:
        problems.add(line, f"{name} {number:g} is below 0")
    return number


def _or_not_told(number: float | None) -> float:
    return NOT_TOLD if number is None else number


def _mean(seconds: float | None) -> dict[str, float]:
    return {} if seconds is None else {"mean": seconds}
