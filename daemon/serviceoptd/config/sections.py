"""The tables of engines and clients: `[vllm]`, `[vllm_benchmark]`, `[simulated]`, a plugin's own.

Three keys belong to every such table and never reach the plugin's model: `target_field`, `manage_lifecycle` (engines)
and `performance_config` (clients). The rest is the plugin's: its defaults lie under it, its model validates it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, PrivateAttr, ValidationError, field_validator

from serviceopt_journal.metric_table import ALL_LATENCIES, METRIC, TTFT

from .explain import findings, known_keys, shown, unknown_key
from .fields import PlacedField, placed_fields
from .merge import merged
from .plugins import BrokenPlugin, Plugins
from .problems import ConfigProblem
from .schema import Document, Table
from .source import Source
from .values import statistic, wrong

_LATENCY = "|".join(
    name for key in ALL_LATENCIES for name in (key, METRIC[key].column, *METRIC[key].older_columns) if name
)
_METRIC = re.compile(rf"((?P<statistic>mean|average|median|max|p\d+(\.\d+)?)_)?({_LATENCY})(_m?s)?|")
Role = Literal["engine", "client"]
_COMMON_KEYS: dict[Role, tuple[str, ...]] = {
    "engine": ("target_field", "manage_lifecycle"),
    "client": ("target_field", "performance_config"),
}


@dataclass(frozen=True)
class Tables:
    """Where an engine is configured. Optional attributes of its class say so; without them all is under its own name.

    `table`: the table of its section. `fields_table`: the one whose target fields it has, and whose default ones.
    `usual_stop_limit(options)`: seconds that stopping may take where `stop_timeout` is not given.
    """

    section: str
    fields: str
    engine: type[Any] | None

    def stop_limit(self, options: Mapping[str, Any]) -> float | None:
        """Seconds for `stop_timeout` where none is given; None: the usual ones."""
        usual = getattr(self.engine, "usual_stop_limit", None)
        return None if usual is None else float(usual(options))


def tables_of(available: Plugins, name: str) -> Tables:
    """The tables of an engine; under its own name where it cannot be used or is not there."""
    try:
        engine = available.engine(name)
    except (KeyError, BrokenPlugin):
        return Tables(name, name, None)
    section = getattr(engine, "table", name)
    return Tables(section, getattr(engine, "fields_table", section), engine)


@dataclass(frozen=True)
class Namesakes:
    """The engine and the client of one name: they share its table. None: there is no such one, or it is broken."""

    engine: type[Any] | None = None
    client: type[Any] | None = None

    def of(self, role: Role) -> type[Any] | None:
        """The section in that role."""
        return self.engine if role == "engine" else self.client

    @property
    def roles(self) -> tuple[Role, ...]:
        """The roles that this section has."""
        roles: tuple[Role, ...] = ("engine", "client")
        return tuple(role for role in roles if self.of(role))

    def keys(self) -> set[str]:
        """Every key that the table may hold."""
        keys = {key for role in self.roles for key in _COMMON_KEYS[role]}
        for plugin in (self.engine, self.client):
            keys.update(known_keys(plugin.section, ()) if plugin else ())
        return keys


def known_sections(available: Plugins) -> dict[str, Namesakes]:
    """Section name -> its engine and its client. A broken plugin's section is known too, and not looked into."""
    engines: dict[str, type[Any] | None] = {}
    benchmarks: dict[str, type[Any] | None] = {}
    for name in available.engine_names:
        try:
            engines[tables_of(available, name).section] = available.engine(name)
        except BrokenPlugin:
            engines[name] = None
    for name in available.benchmark_names:
        try:
            benchmarks[name] = available.benchmark(name)
        except BrokenPlugin:
            benchmarks[name] = None
    # a plugin cannot take a name that is a key of ours
    names_of_sections = [name for name in {**engines, **benchmarks} if name not in Document.model_fields]
    return {name: Namesakes(engines.get(name), benchmarks.get(name)) for name in names_of_sections}


class Statistic(Table):
    """Which statistic counts: `{metric = "p99_ttft_ms"}` or `{metric = "TTFT", algorithm = "P90"}`."""

    metric: str = ""
    algorithm: str = "average"
    _statistic: str = PrivateAttr("mean")

    def model_post_init(self, context: Any, /) -> None:
        """Derives the statistic once; an unknown one is an error of this table."""
        told = _METRIC.fullmatch(self.metric.strip().lower())
        if told is None:
            raise wrong(f'"{self.metric}" is not a metric', f'"p99_{TTFT}_ms", or "{TTFT.upper()}" with `algorithm`')
        self._statistic = statistic(told["statistic"] or self.algorithm)

    @property
    def statistic(self) -> str:
        """The name of the statistic, such as `mean` or `p99`."""
        return self._statistic


class PerformanceConfig(Table):
    """`[<client>.performance_config]`: the statistic that a plain number of `ttft_slo` and `tpot_slo` limits."""

    time_to_first_token: Statistic = Statistic()
    time_per_output_token: Statistic = Statistic()

    @field_validator("*", mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"algorithm": value} if isinstance(value, str) else value


@dataclass(frozen=True)
class Section:
    """One validated table of an engine or a client. `options` has the defaults filled in and is made of plain values."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    fields: tuple[PlacedField, ...] = ()
    managed: bool = True
    performance: PerformanceConfig = field(default_factory=PerformanceConfig)


def validated(
    source: Source, name: str, namesakes: Namesakes, role: Role, *, load_only: bool = False
) -> tuple[Section, list[ConfigProblem]]:
    """The section as the plugin in that role sees it. `load_only`: all of its fields tune the load."""
    plugin = namesakes.of(role)
    given = source.document.get(name, {})
    if plugin is None:
        return Section(name), []
    if not isinstance(given, dict):
        return Section(name), [source.problem((name,), "is not a table", f"write [{name}]")]
    defaults = plugin.defaults
    problems: list[ConfigProblem] = []

    tables = given.get("target_field", defaults.get("target_field", []))
    placed, refused = placed_fields(
        source, (name, "target_field"), tables, given="target_field" in given, load_only=load_only
    )
    problems += refused

    managed = given.get("manage_lifecycle", defaults.get("manage_lifecycle", True))
    if not isinstance(managed, bool):
        problems.append(
            source.problem(
                (name, "manage_lifecycle"), f"{shown(managed)} is not true or false", "expected true or false"
            )
        )
    elif not managed and "target_field" not in given:
        # nobody restarts that service, so the default space is its load alone
        placed = [item for item in placed if item.field.load]

    performance, refused = _performance(source, name, role, given)
    problems += refused
    options, refused = _options(source, name, namesakes, plugin, given)
    problems += refused
    return Section(name, options, tuple(placed), managed is True, performance), problems


def _performance(
    source: Source, name: str, role: Role, given: Mapping[str, Any]
) -> tuple[PerformanceConfig, list[ConfigProblem]]:
    table = given.get("performance_config", {}) if role == "client" else {}
    path = (name, "performance_config")
    if not isinstance(table, dict):
        return PerformanceConfig(), [source.problem(path, "is not a table", f"write [{name}.performance_config]")]
    try:
        return PerformanceConfig.model_validate(table), []
    except ValidationError as error:
        found = findings(error, PerformanceConfig, table)
        return PerformanceConfig(), [source.problem((*path, *at), what, allowed) for at, what, allowed in found]


def _options(
    source: Source, name: str, namesakes: Namesakes, plugin: type[Any], given: Mapping[str, Any]
) -> tuple[dict[str, Any], list[ConfigProblem]]:
    model: type[BaseModel] = plugin.section
    own = set(known_keys(model, ()))
    # what is not the model's own is common to all sections, or of the namesake in the other role
    elsewhere = namesakes.keys() - own
    defaults = {key: value for key, value in plugin.defaults.items() if key not in elsewhere}
    data = merged(defaults, {key: value for key, value in given.items() if key not in elsewhere})
    try:
        return model.model_validate(data).model_dump(mode="json"), []
    except ValidationError as error:
        problems: list[ConfigProblem] = []
        for path, message, allowed in findings(error, model, data):
            if len(path) == 1 and str(path[0]) not in own:
                message, allowed = unknown_key(str(path[0]), namesakes.keys())  # noqa: PLW2901
            problems.append(source.problem((name, *path), message, allowed))
        return {}, problems
