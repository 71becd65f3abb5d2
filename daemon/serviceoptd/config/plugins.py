"""Which engines, clients, strategies and rules are installed. Built-in ones register by entry points, as all do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import EntryPoint, entry_points
from traceback import extract_tb
from typing import Any, TypeVar, cast

from pydantic import BaseModel

from serviceopt_journal.errors import InvalidConfiguration, ServiceoptError
from serviceopt_journal.failures import is_a_lack
from serviceoptd.benchmarks.interface import Benchmark
from serviceoptd.engines.interface import Engine
from serviceoptd.rules.interface import Rule
from serviceoptd.search.interface import Strategy

from .schema import Document

ENGINE_GROUP = "serviceopt.engines"
BENCHMARK_GROUP = "serviceopt.benchmarks"
STRATEGY_GROUP = "serviceopt.strategies"
RULE_GROUP = "serviceopt.rules"

GROUPS = {"engine": ENGINE_GROUP, "benchmark": BENCHMARK_GROUP, "strategy": STRATEGY_GROUP, "rule": RULE_GROUP}
METHODS = {
    "engine": ("plan", "problems", "identity", "kv_blocks", "devices"),
    "benchmark": ("plan", "read", "problems", "identity"),
    "strategy": ("tell", "ask"),
    "rule": ("judge",),
}
WITH_SECTION = ("engine", "benchmark")

OURS = "serviceoptd."
"""Where the built-in ones are."""

Loader = Callable[[], Any]


@dataclass(frozen=True)
class BuiltIn:
    """A plugin of ours, imported when a run first asks for it, and not before: a start reads neither every engine nor numpy.

    That it can be used need not be looked at: our tests hold it.
    """

    entry: EntryPoint

    def __call__(self) -> Any:
        return self.entry.load()


class BrokenPlugin(InvalidConfiguration):
    """A plugin is installed but cannot be used; the message names it and says why."""


class Plugins:
    """What is installed, by name. Nothing is imported before it is asked for."""

    def __init__(
        self,
        engines: Mapping[str, Loader],
        benchmarks: Mapping[str, Loader],
        strategies: Mapping[str, Loader] | None = None,
        rules: Mapping[str, Loader] | None = None,
        *,
        hidden: tuple[str, ...] = (),
    ) -> None:
        self._loaders: dict[str, Mapping[str, Loader]] = {
            "engine": engines,
            "benchmark": benchmarks,
            "strategy": _of_group(STRATEGY_GROUP)[0] if strategies is None else strategies,
            "rule": rules or {},
        }
        self._loaded: dict[tuple[str, str], type[Any] | BrokenPlugin] = {}
        self.hidden = hidden
        """One sentence for each plugin that another one of its name hides."""

    @classmethod
    def of(
        cls, engines: Iterable[type[Any]], benchmarks: Iterable[type[Any]], rules: Iterable[type[Any]] = ()
    ) -> Plugins:
        """Exactly these classes, whatever is installed, with the installed strategies (tests build their own)."""
        groups = [
            {each.name: partial(lambda plugin: plugin, each) for each in group}
            for group in (engines, benchmarks, rules)
        ]
        return cls(groups[0], groups[1], rules=groups[2])

    @property
    def engine_names(self) -> tuple[str, ...]:
        """Names of every installed engine, broken ones included."""
        return tuple(sorted(self._loaders["engine"]))

    @property
    def benchmark_names(self) -> tuple[str, ...]:
        """Names of every installed client, broken ones included."""
        return tuple(sorted(self._loaders["benchmark"]))

    @property
    def strategy_names(self) -> tuple[str, ...]:
        """Names of every installed search strategy, broken ones included."""
        return tuple(sorted(self._loaders["strategy"]))

    @property
    def rule_names(self) -> tuple[str, ...]:
        """Names of every installed rejection rule, broken ones included."""
        return tuple(sorted(self._loaders["rule"]))

    def engine(self, name: str) -> type[Engine]:
        """The class of the engine with this name.

        Raises:
            KeyError: no such engine is installed.
            BrokenPlugin: it cannot be imported, or is not an engine.
        """
        return cast(type[Engine], self._get("engine", name))

    def benchmark(self, name: str) -> type[Benchmark]:
        """The class of the client with this name. Raises as `engine` does."""
        return cast(type[Benchmark], self._get("benchmark", name))

    def strategy(self, name: str) -> type[Strategy]:
        """The search strategy's class. Raises as `engine` does."""
        return cast(type[Strategy], self._get("strategy", name))

    def rule(self, name: str) -> type[Rule]:
        """The rejection rule's class. Raises as `engine` does."""
        return cast(type[Rule], self._get("rule", name))

    def look_at(self, kind: str, name: str) -> None:
        """Loads a plugin only to see whether it can be used; raises as `engine` does.

        Imports none of ours for that.
        """
        if not isinstance(self._loaders[kind][name], BuiltIn):
            self._get(kind, name)

    def broken(self) -> tuple[BrokenPlugin, ...]:
        """Every plugin that cannot be used. Imports all of them but ours."""
        found: list[BrokenPlugin] = []
        for kind, loaders in self._loaders.items():
            for name in sorted(loaders):
                try:
                    self.look_at(kind, name)
                except BrokenPlugin as error:
                    found.append(error)
        return tuple(found)

    def complaints(self) -> tuple[str, ...]:
        """One sentence for each plugin that cannot be used (as `broken`) or is hidden by another."""
        return (*(error.message for error in self.broken()), *self.hidden)

    def _get(self, kind: str, name: str) -> type[Any]:
        if (kind, name) not in self._loaded:
            self._loaded[kind, name] = _checked(kind, name, self._loaders[kind][name])
        plugin = self._loaded[kind, name]
        if isinstance(plugin, BrokenPlugin):
            raise plugin
        return plugin


def _checked(kind: str, name: str, loader: Loader) -> type[Any] | BrokenPlugin:
    try:
        plugin = loader()
    except (Exception, SystemExit) as error:  # a third party's import can fail in any way; it must not stop the others
        if is_a_lack(error):  # it says nothing of the plugin, and is not remembered
            raise
        return BrokenPlugin(f"{kind} `{name}` cannot be loaded: {type(error).__name__}: {error}", hint="reinstall it")
    if faults := _faults(kind, name, plugin):
        return BrokenPlugin(
            f"{kind} `{name}` does not implement the {kind} interface: {', '.join(faults)}",
            hint="`serviceoptctl docs plugins` says what it needs",
        )
    return cast(type[Any], plugin)


def _faults(kind: str, name: str, plugin: Any) -> list[str]:
    section, defaults = getattr(plugin, "section", None), getattr(plugin, "defaults", None)
    is_model = isinstance(section, type) and issubclass(section, BaseModel)
    found = [(f"its name is {getattr(plugin, 'name', None)!r}", getattr(plugin, "name", None) != name)]
    if kind in WITH_SECTION:
        found += [
            ("`section` is not a pydantic model", not is_model),
            ("`defaults` is not a table", not isinstance(defaults, Mapping)),
            (
                f"[{name}] is reserved by serviceopt, so a plugin cannot use it as its section",
                name in Document.model_fields,
            ),
        ]
    lacking = [f"`{method}` is missing" for method in METHODS[kind] if not callable(getattr(plugin, method, None))]
    return [text for text, wrong in found if wrong] or lacking


@cache
def installed() -> Plugins:
    """The plugins of this Python environment. Of two with one name the built-in one counts, and `hidden` says so."""
    loaders, hidden = {}, []
    for kind, group in GROUPS.items():
        loaders[kind], sentences = _of_group(group)
        hidden += sentences
    return Plugins(loaders["engine"], loaders["benchmark"], loaders["strategy"], loaders["rule"], hidden=tuple(hidden))


def _of_group(group: str) -> tuple[dict[str, Loader], list[str]]:
    """The entry points of a group, built-in ones and then those of the first package by name winning; what is hidden."""
    kind = next(kind for kind, its_group in GROUPS.items() if its_group == group)
    chosen: dict[str, EntryPoint] = {}
    hidden = []
    for entry in sorted(entry_points(group=group), key=lambda e: (not e.value.startswith(OURS), package(e), e.value)):
        first = chosen.setdefault(entry.name, entry)
        if first is not entry:
            winner = "the built-in one" if first.value.startswith(OURS) else f"the one of {package(first)}"
            hidden.append(f"{kind} `{entry.name}` of {package(entry)} is not used: {winner} has the same name")
    loaders: dict[str, Loader] = {
        name: BuiltIn(entry) if entry.value.startswith(OURS) else entry.load for name, entry in chosen.items()
    }
    return loaders, hidden


def package(entry: EntryPoint) -> str:
    """The installed package that registered this, with its version."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value.partition(".")[0]


def of_third_parties() -> tuple[str, ...]:
    """What other packages have registered, whether it can be used or not: `engine echo (serviceopt-echo 0.1)`."""
    return tuple(
        f"{kind} {entry.name} ({package(entry)})"
        for kind, group in GROUPS.items()
        for entry in sorted(entry_points(group=group), key=lambda e: e.name)
        if not entry.value.startswith(OURS)
    )


def engine_names() -> tuple[str, ...]:
    """Names of every installed engine."""
    return installed().engine_names


def benchmark_names() -> tuple[str, ...]:
    """Names of every installed benchmark client."""
    return installed().benchmark_names


def engine_class(name: str) -> type[Engine]:
    """The installed engine of that name.

    Raises:
        BrokenPlugin: it is not installed (any more), or cannot be used.
    """
    return _found("engine", name, installed().engine)


def benchmark_class(name: str) -> type[Benchmark]:
    """The installed benchmark client of that name. Raises as `engine_class` does."""
    return _found("benchmark", name, installed().benchmark)


def strategy_class(name: str) -> type[Strategy]:
    """The installed search strategy of that name. Raises as `engine_class` does."""
    return _found("strategy", name, installed().strategy)


def rule_class(name: str) -> type[Rule]:
    """The installed rejection rule of that name. Raises as `engine_class` does."""
    return _found("rule", name, installed().rule)


Plugin = TypeVar("Plugin")


def _found(kind: str, name: str, get: Callable[[str], Plugin]) -> Plugin:
    try:
        return get(name)
    except KeyError:
        raise BrokenPlugin(f"{kind} `{name}` is not installed", hint="install it, then resume the run") from None


@contextmanager
def blaming(kind: str, name: str) -> Iterator[None]:
    """Names the plugin whose code fails inside the block in a way that the interface does not foresee.

    Raises:
        BrokenPlugin: in place of any exception that is not one of ours.
    """
    try:
        yield
    except ServiceoptError:
        raise
    except Exception as error:
        place = extract_tb(error.__traceback__)[-1]
        raise BrokenPlugin(
            f"{kind} `{name}` failed: {type(error).__name__}: {error} ({place.filename}:{place.lineno})",
            hint=f"that is a defect of the {kind}, not of the configuration: report it to its author",
        ) from error
