"""Which engines, clients and strategies are installed. Built-in ones register by entry points, as all do."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache, partial
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

from pydantic import BaseModel

from serviceopt_journal.errors import InvalidConfiguration
from serviceoptd.benchmarks.interface import Benchmark
from serviceoptd.engines.interface import Engine

ENGINE_GROUP = "serviceopt.engines"
BENCHMARK_GROUP = "serviceopt.benchmarks"
STRATEGY_GROUP = "serviceopt.strategies"

Loader = Callable[[], Any]


class BrokenPlugin(InvalidConfiguration):
    """An engine or client is installed but cannot be used; the message names it and says why."""


class Plugins:
    """What is installed, by name. Nothing is imported before it is asked for."""

    def __init__(
        self,
        engines: Mapping[str, Loader],
        benchmarks: Mapping[str, Loader],
        strategies: Collection[str] = ("swarm", "random"),
    ) -> None:
        self._loaders: dict[str, Mapping[str, Loader]] = {"engine": engines, "benchmark": benchmarks}
        self._loaded: dict[tuple[str, str], type[Any] | BrokenPlugin] = {}
        self.strategy_names = tuple(sorted(strategies))

    @classmethod
    def of(cls, engines: Iterable[type[Any]], benchmarks: Iterable[type[Any]]) -> Plugins:
        """Exactly these classes, whatever is installed (tests build their own)."""
        return cls(
            {engine.name: partial(_itself, engine) for engine in engines},
            {benchmark.name: partial(_itself, benchmark) for benchmark in benchmarks},
        )

    @property
    def engine_names(self) -> tuple[str, ...]:
        """Names of every installed engine, broken ones included."""
        return tuple(sorted(self._loaders["engine"]))

    @property
    def benchmark_names(self) -> tuple[str, ...]:
        """Names of every installed client, broken ones included."""
        return tuple(sorted(self._loaders["benchmark"]))

    def engine(self, name: str) -> type[Engine]:
        """The engine's class.

        Raises:
            KeyError: no such engine is installed.
            BrokenPlugin: it cannot be imported, or is not an engine.
        """
        return cast(type[Engine], self._get("engine", name))

    def benchmark(self, name: str) -> type[Benchmark]:
        """The client's class. Raises as `engine` does."""
        return cast(type[Benchmark], self._get("benchmark", name))

    def broken(self) -> tuple[BrokenPlugin, ...]:
        """Every plugin that cannot be used. Imports all of them."""
        found: list[BrokenPlugin] = []
        for kind, loaders in self._loaders.items():
            for name in sorted(loaders):
                try:
                    self._get(kind, name)
                except BrokenPlugin as error:
                    found.append(error)
        return tuple(found)

    def _get(self, kind: str, name: str) -> type[Any]:
        if (kind, name) not in self._loaded:
            self._loaded[kind, name] = _checked(kind, name, self._loaders[kind][name])
        plugin = self._loaded[kind, name]
        if isinstance(plugin, BrokenPlugin):
            raise plugin
        return plugin


def _itself(plugin: type[Any]) -> type[Any]:
    return plugin


def _checked(kind: str, name: str, loader: Loader) -> type[Any] | BrokenPlugin:
    try:
        plugin = loader()
    except Exception as error:  # noqa: BLE001  a third party's import can fail in any way; it must not stop the others
        return BrokenPlugin(f"{kind} `{name}` cannot be loaded: {type(error).__name__}: {error}", hint="reinstall it")
    section = getattr(plugin, "section", None)
    faults = [
        text
        for text, wrong in (
            (f"its name is {getattr(plugin, 'name', None)!r}", getattr(plugin, "name", None) != name),
            ("`section` is not a pydantic model", not (isinstance(section, type) and issubclass(section, BaseModel))),
            ("`defaults` is not a table", not isinstance(getattr(plugin, "defaults", None), Mapping)),
        )
        if wrong
    ]
    if faults:
        return BrokenPlugin(
            f"{kind} `{name}` is not one: {', '.join(faults)}", hint="docs/plugins.md says what it needs"
        )
    return cast(type[Any], plugin)


@cache
def installed() -> Plugins:
    """The plugins of this Python environment. Of two with the same name the built-in one counts."""
    return Plugins(_loaders(ENGINE_GROUP), _loaders(BENCHMARK_GROUP), tuple(_loaders(STRATEGY_GROUP)))


def _loaders(group: str) -> dict[str, Loader]:
    def ours_last(entry: EntryPoint) -> tuple[bool, str]:
        return entry.value.startswith("serviceoptd."), entry.value

    return {entry.name: entry.load for entry in sorted(entry_points(group=group), key=ours_last)}


def engine_names() -> tuple[str, ...]:
    """Names of every installed engine."""
    return installed().engine_names


def benchmark_names() -> tuple[str, ...]:
    """Names of every installed benchmark client."""
    return installed().benchmark_names


def engine_class(name: str) -> type[Engine]:
    """The installed engine of that name. Raises KeyError and BrokenPlugin as `Plugins.engine` does."""
    return installed().engine(name)


def benchmark_class(name: str) -> type[Benchmark]:
    """The installed benchmark client of that name. Raises KeyError and BrokenPlugin as `Plugins.benchmark` does."""
    return installed().benchmark(name)
