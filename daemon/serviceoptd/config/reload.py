"""What may change while a run is under way, and what needs a new run."""

from __future__ import annotations

from typing import Any

import msgspec

from serviceoptd.domain.settings import DeviceFacts, ModelFacts, Objective, RunSettings

KEYS = {
    "measuring.sample_size": "sample_size",
    "backup_limit": "data_storage.backup_limit_gb",
    "proof.finalists": "data_storage.pso_top_k",
}
"""Settings whose key in the configuration has another name."""

PART_NAMES = {"engine_options": "engine", "benchmark_options": "benchmark"}
IGNORED = frozenset({("search", "n_particles"), ("search", "iters")})
"""The swarm keeps its size and schedule; their product is the budget, which may change."""


def changes(old: RunSettings, new: RunSettings) -> tuple[dict[str, Any], list[str]]:
    """What differs: the changes that a running run takes, and the names of those that it does not.

    The first is for `RunReconfigured.changes`: a field of `RunSettings` -> its whole new value as plain data. It holds
    `objective` (latency limits, success rate, penalties of the soft formula), `budget` and `log_level`. The second
    lists dotted names such as `vllm.command.port`; where there are any the caller says so and may still take the first.
    """
    old, new = _as_written(old), _as_written(new)
    allowed: dict[str, Any] = {}
    refused: list[str] = []
    objective, wrong = _objective(old.objective, new.objective)
    refused += wrong
    if objective != old.objective:
        allowed["objective"] = msgspec.to_builtins(objective)
    if new.budget != old.budget:
        allowed["budget"] = msgspec.to_builtins(new.budget)
    if new.log_level != old.log_level:
        allowed["log_level"] = new.log_level
    for name in RunSettings.__struct_fields__:
        if name not in ("objective", "budget", "log_level"):
            refused += _differences((name,), _plain(getattr(old, name)), _plain(getattr(new, name)))
    return allowed, list(dict.fromkeys(_readable(name, old) for name in refused))


def _as_written(settings: RunSettings) -> RunSettings:
    """Without what was found out about fields, files and devices: that is no change of the configuration."""
    return msgspec.structs.replace(
        settings,
        fields=settings.as_written or settings.fields,
        as_written=(),
        model_facts=ModelFacts(),
        device_facts=DeviceFacts(),
        simulation_files={},
    )


def _objective(old: Objective, new: Objective) -> tuple[Objective, list[str]]:
    refused = [f"objective.{name}" for name in ("maximise", "per_device") if getattr(old, name) != getattr(new, name)]
    soft = new.soft
    if (old.soft is None) != (new.soft is None):
        refused.append("formula")
        soft = old.soft
    result = msgspec.structs.replace(old, slos=new.slos, success_rate=new.success_rate, soft=soft)
    return result, refused


def _differences(path: tuple[str, ...], old: Any, new: Any) -> list[str]:
    if old == new or path in IGNORED:
        return []
    if path == ("fields",):
        before, after = ({field["name"]: field for field in fields} for fields in (old, new))
        names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
        return [f"target_field {name}" for name in names] or ["order of target_field"]
    if isinstance(old, dict) and isinstance(new, dict):
        return [found for key in {**old, **new} for found in _differences((*path, key), old.get(key), new.get(key))]
    return [".".join(path)]


def _readable(name: str, settings: RunSettings) -> str:
    """Names of the configuration instead of those of RunSettings."""
    first, _, rest = name.partition(".")
    if first in PART_NAMES:
        section: str = getattr(settings, PART_NAMES[first])
        return f"{section}.{rest}" if rest else section
    return rest if first == "notes" else KEYS.get(name, name)


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value)
