"""What an imported run was told to do: by which objective its results are judged, and which parameters they have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from serviceopt_journal.metric_table import GOODPUT, in_words
from serviceoptd.config.load import load_text
from serviceoptd.domain.settings import (
    LOAD_NAMES,
    Budget,
    Field,
    Measuring,
    Objective,
    Proving,
    RunSettings,
    Search,
)
from serviceoptd.submitting.importing.predecessor_table import Table

IMPORTED = "imported"
"""Origin and strategy of every particle, and the first word of the run's identities."""

UNKNOWN = "unknown"
"""The engine and the client, where nobody tells."""


def imported_settings(
    table: Table, configuration_text: str, path: Path | None, engine: str | None
) -> tuple[RunSettings, list[str]]:
    """The settings of the run, and warnings: the configuration's objective, the parameters as the file shows them.

    Raises:
        ConfigurationErrors: there is a configuration, and it is not valid.
    """
    count = len(table.rows)
    search, budget = Search(strategy=IMPORTED, n_particles=1, iters=count), Budget(evaluations=count)
    if not configuration_text:
        settings = RunSettings(
            engine=engine or UNKNOWN,
            benchmark=UNKNOWN,
            fields=_fields(table, {}),
            objective=Objective(),
            search=search,
            budget=budget,
        )
        return settings, ["without a configuration (-c) there is no latency limit: the fastest result is the best"]
    loaded = load_text(configuration_text, path, engine=engine, environment={})
    configured = {field.name: field for field in loaded.settings.fields}
    settings = replace(
        loaded.settings,
        engine=UNKNOWN if loaded.assumed else loaded.settings.engine,
        benchmark=UNKNOWN if loaded.assumed else loaded.settings.benchmark,
        fields=_fields(table, configured),
        search=search,
        budget=budget,
        measuring=Measuring(),
        proof=Proving(),
        engine_options={},
        benchmark_options={},
        notes={},
    )
    return settings, [*_unjudged(settings.objective, table), *_unlike(table, configured, assumed=bool(loaded.assumed))]


def _unjudged(objective: Objective, table: Table) -> Iterator[str]:
    """What the objective needs and this file does not tell."""
    told = [row.metrics for row in table.rows if row.metrics is not None]
    wanted = [
        in_words(slo.statistic, slo.metric)
        for slo in objective.slos
        if not any(slo.statistic in getattr(metrics, slo.metric) for metrics in told)
    ]
    if objective.maximise == GOODPUT:
        wanted.append(GOODPUT)
    if wanted:
        yield f"the objective needs {', '.join(wanted)}, which the file does not contain: no row counts as feasible"


def _unlike(table: Table, configured: Mapping[str, Field], *, assumed: bool) -> Iterator[str]:
    if assumed:
        yield "no engine is named: with -e the parameters are compared with the configuration's target fields"
        return
    if strange := [name for name in table.parameters if name not in configured]:
        yield f"{', '.join(strange)}: in the file, but not a target field of the configuration"
    if absent := [name for name in configured if name not in table.parameters]:
        yield f"{', '.join(absent)}: target fields of the configuration that the file does not have"


def _fields(table: Table, configured: Mapping[str, Field]) -> tuple[Field, ...]:
    return tuple(_field(name, table, configured.get(name)) for name in table.parameters)


def _field(name: str, table: Table, configured: Field | None) -> Field:
    """A parameter from the smallest to the largest value in the file."""
    values = [row.configuration[name] for row in table.rows if name in row.configuration]
    position = configured.config_position if configured else "env"
    load = configured.load if configured else name in LOAD_NAMES
    common: dict[str, Any] = {"name": name, "config_position": position, "load": load}
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < len(values):
        if all(isinstance(value, bool) for value in values):
            return Field(dtype="bool", **common)
        return Field(dtype="enum", dtype_param=list(dict.fromkeys(values)), **common)
    whole = all(isinstance(value, int) for value in numbers)
    low, high = float(min(numbers)), float(max(numbers))
    return Field(dtype="int" if whole else "float", min=low, max=high, **common)
