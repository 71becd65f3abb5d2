"""Do values that are each legal go together? Looks at the engine's section, the client's and the run's settings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from serviceopt_journal.metric_table import GENERATE_SPEED, GOODPUT, LIMITS, THROUGHPUT
from serviceoptd.config import plugins
from serviceoptd.config.placeholders import PLACEHOLDERS
from serviceoptd.domain.proving.racing import PATIENCE
from serviceoptd.domain.settings import Field, RunSettings
from serviceoptd.domain.space.space import Space
from serviceoptd.domain.statistics.order_statistics import about_a_percentile, needed
from serviceoptd.submitting.unreplaced_keys import unreplaced_keys

_EVERY_ADDRESS = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - compared with, never listened on
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True)
class Disagreement:
    """`key` is the dotted place that should change; `allowed` says into what."""

    key: str
    message: str
    allowed: str = ""
    refused_too: bool = False  # the engine refuses it by itself, in other words


def disagreements(settings: RunSettings, space: Space) -> tuple[Disagreement, ...]:
    """What keeps every evaluation from meaning anything: such a run must not start."""
    return (
        *_machines(settings),
        *_client_and_service(settings),
        *(Disagreement(*found) for found in unreplaced_keys(settings)),
        *_foreign_service(settings, space),
        *_statistics(settings),
        *_reported(settings),
        *_never(space),
    )


def remarks(settings: RunSettings, space: Space) -> tuple[Disagreement, ...]:
    """What is legal and probably not meant: such a run may start."""
    return (
        *_tokenizer(settings),
        *_batch(space),
        *_load(settings, space),
        *_percentiles(settings),
        *_budget(settings, space),
        *_first(space),
    )


def _machines(settings: RunSettings) -> Iterator[Disagreement]:
    if settings.notes.get("service") == "slave":
        yield Disagreement(
            "service",
            '"slave" asks for several machines, which come with a later release',
            '"master" on the one machine that searches',
        )


def _client_and_service(settings: RunSettings) -> Iterator[Disagreement]:
    """Whether the client asks the service that the engine starts: host, port and model of both sections."""
    if settings.engine == settings.benchmark:
        return
    if "simulated" in (settings.engine, settings.benchmark):
        yield Disagreement(
            "benchmark",
            f"the client `{settings.benchmark}` cannot measure the engine `{settings.engine}`: "
            "the simulated service exists for the simulated client only",
            "both simulated, or neither",
        )
        return
    # The client asks for the served name; without one, for the model.
    named = (
        "served_model_name" if _addressed(settings.benchmark_options, "client")[1].get("served_model_name") else "model"
    )
    yield from _different(settings, ("host", "port", named))


def _tokenizer(settings: RunSettings) -> Iterator[Disagreement]:
    """Both name the model's weights: the client counts tokens with its tokenizer."""
    (place, _), (table, client) = (
        _addressed(settings.engine_options, "service"),
        _addressed(settings.benchmark_options, "client"),
    )
    if place == table == "command" and client.get("served_model_name"):
        yield from _different(settings, ("model",))


def _different(settings: RunSettings, names: tuple[str, ...]) -> Iterator[Disagreement]:
    service_table, service = _addressed(settings.engine_options, "service")
    client_table, client = _addressed(settings.benchmark_options, "client")
    for name in names:
        ours, theirs = service.get(name), client.get(name)
        given = ours not in (None, "", PLACEHOLDERS[name][0] if name in PLACEHOLDERS else None)
        if not given or theirs in (None, "") or _same(name, ours, theirs):
            continue
        yield Disagreement(
            f"{settings.benchmark}.{client_table}.{name}",
            f"{_shown(theirs)} is not the service's {_shown(ours)} ([{settings.engine}.{service_table}] {name})",
            f"{_shown(ours)}, or change [{settings.engine}.{service_table}]",
        )


def _addressed(options: Mapping[str, Any], role: str) -> tuple[str, Mapping[str, Any]]:
    """The table that holds host, port and model, with its name: `command`, or that of the role where both share one."""
    for name in ("command", role):
        if isinstance(table := options.get(name), Mapping):
            return name, table
    return "command", {}


def _same(name: str, service: object, client: object) -> bool:
    ours, theirs = str(service), str(client)
    if name != "host":
        return ours == theirs
    return ours == theirs or ours in _EVERY_ADDRESS or {ours, theirs} <= _LOOPBACK


def _shown(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _foreign_service(settings: RunSettings, space: Space) -> Iterator[Disagreement]:
    if settings.manage_lifecycle:
        return
    searched = [field.name for field in space.dimensions if not field.load]
    if searched:
        yield Disagreement(
            f"{settings.engine}.target_field",
            f"{', '.join(searched)} would need a restart, and with manage_lifecycle = false it is never restarted",
            "only fields of the load (CONCURRENCY, REQUESTRATE); give the others min = max, or leave them out",
            refused_too=True,
        )


def _statistics(settings: RunSettings) -> Iterator[Disagreement]:
    """A client that is described in the configuration reports what its `metrics` name, and nothing else."""
    client = settings.benchmark_options.get("client")
    metrics = client.get("metrics") if isinstance(client, Mapping) else None
    if not isinstance(metrics, Mapping) or not metrics:
        return
    wanted = [f"{slo.metric}.{slo.statistic}" for slo in settings.objective.slos]
    if settings.objective.maximise == GOODPUT:
        wanted.append(GOODPUT)
    for name in wanted:
        if name not in _names(metrics):
            yield Disagreement(
                f"{settings.benchmark}.client.metrics",
                f"the objective needs `{name}`, which the client's metrics do not name",
                "one of " + ", ".join(sorted(_names(metrics))) + ", or add it",
            )


def _reported(settings: RunSettings) -> Iterator[Disagreement]:
    """A client may say which statistics it reports, in `statistics` of its class; it has no others to judge by."""
    try:
        reported = getattr(plugins.benchmark_class(settings.benchmark), "statistics", None)
    except (KeyError, plugins.BrokenPlugin):
        return  # told where the configuration is loaded
    if reported is None:
        return
    allowed = "one of " + ", ".join(sorted(reported))
    for slo in settings.objective.slos:
        if slo.statistic not in reported:
            message = f"`{settings.benchmark}` does not report {slo.statistic} of {slo.metric}"
            yield Disagreement(LIMITS[slo.metric].key, message, allowed)
    if settings.objective.maximise == GOODPUT and GOODPUT not in reported:
        yield Disagreement(
            "objective", f"`{settings.benchmark}` does not report {GOODPUT}", f"{GENERATE_SPEED} or {THROUGHPUT}"
        )


def _names(metrics: Mapping[str, Any]) -> set[str]:
    """The metrics' names, whether written as `"ttft.mean"` or as a table of tables."""
    found = set()
    for name, value in metrics.items():
        found.add(str(name))
        if isinstance(value, Mapping):
            found |= {f"{name}.{inner}" for inner in value}
    return found


def _never(space: Space) -> Iterator[Disagreement]:
    tokens, seqs = _named(space, "MAX_NUM_BATCHED_TOKENS"), _named(space, "MAX_NUM_SEQS")
    if tokens and seqs and _greatest(tokens) < _smallest(seqs):
        yield Disagreement(
            "MAX_NUM_BATCHED_TOKENS",
            f"at most {_greatest(tokens):g} tokens a step, at least {_smallest(seqs):g} sequences: no engine starts",
            "max at least MAX_NUM_SEQS' min",
            refused_too=True,
        )


def _batch(space: Space) -> Iterator[Disagreement]:
    tokens, seqs = _named(space, "MAX_NUM_BATCHED_TOKENS"), _named(space, "MAX_NUM_SEQS")
    if tokens and seqs and _smallest(tokens) < _greatest(seqs) and _greatest(tokens) >= _smallest(seqs):
        yield Disagreement(
            "MAX_NUM_BATCHED_TOKENS",
            f"min {_smallest(tokens):g} is below MAX_NUM_SEQS' max {_greatest(seqs):g}: "
            "configurations with fewer tokens than sequences fail at the launch",
        )


def _load(settings: RunSettings, space: Space) -> Iterator[Disagreement]:
    concurrency = _named(space, "CONCURRENCY") or _named(space, "MAXCONCURRENCY")
    table, client = _addressed(settings.benchmark_options, "client")
    prompts = client.get("num_prompts")
    if concurrency and isinstance(prompts, int) and _greatest(concurrency) > prompts:
        yield Disagreement(
            f"{settings.benchmark}.{table}.num_prompts",
            f"{prompts} prompts never reach a concurrency of {_greatest(concurrency):g} ({concurrency.name}'s max)",
        )


def _percentiles(settings: RunSettings) -> Iterator[Disagreement]:
    """Where single requests are known, a percentile is only declared to be kept on so many of them."""
    proof, prompts = settings.proof, settings.num_prompts
    try:
        told = getattr(plugins.benchmark_class(settings.benchmark), "tells_single_requests", False)
    except (KeyError, plugins.BrokenPlugin):
        return  # told where the configuration is loaded
    if not told or not proof.measurements or not prompts:
        return
    error = (1 - proof.confidence) / (max(proof.finalists, 1) + 1)
    for slo in filter(about_a_percentile, settings.objective.slos):
        least = math.ceil(needed(slo, error) / PATIENCE)
        if prompts < least:
            yield Disagreement(
                f"{settings.benchmark}.{_addressed(settings.benchmark_options, 'client')[0]}.num_prompts",
                f"{PATIENCE} confirmations of {prompts} requests cannot show that {slo.statistic} of {slo.metric} is kept",
                f"at least {least}, better four times as many",
            )


def _budget(settings: RunSettings, space: Space) -> Iterator[Disagreement]:
    count = space.cardinality()
    if count is not None and count < settings.budget.evaluations:
        yield Disagreement(
            "n_particles",
            f"the space holds {count} configurations: the run ends before its {settings.budget.evaluations}",
        )
    if not space.dimensions:
        yield Disagreement("target_field", "nothing is searched: every field is fixed, one configuration is measured")


def _first(space: Space) -> Iterator[Disagreement]:
    first = Space(space.fields).repair({})  # what an engine itself makes of it is no mistake of the configuration
    for field in space.fields:
        moved = field.value is not None and not isinstance(field.value, bool) and first[field.name] != field.value
        if moved and field.constant is None and field.min != field.max:
            yield Disagreement(
                f"{field.name}",
                f"the current value {field.value} is not in the space; the run begins with {first[field.name]}",
            )
    if space.dimensions and space.current() is None:
        yield Disagreement("target_field", "no field has a `value`: the gain over the current setting stays unknown")


def _named(space: Space, name: str) -> Field | None:
    return next((field for field in space.fields if field.name == name), None)


def _smallest(field: Field) -> float:
    return float(field.constant) if isinstance(field.constant, int | float) else field.min


def _greatest(field: Field) -> float:
    return float(field.constant) if isinstance(field.constant, int | float) else field.max
