"""The two identities of a run: what a measured value depends on, and what --load_breakpoint continues."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec

from serviceopt_journal.documents.requests import Submission
from serviceopt_journal.foreign_files import LARGEST_CONFIGURATION, content
from serviceopt_journal.metric_table import GOODPUT
from serviceoptd.config.plugins import blaming
from serviceoptd.domain.settings import RunSettings, default_rules
from serviceoptd.submitting.draft import Draft, Prepared
from serviceoptd.toolkit.provenance import with_named_variables
from serviceoptd.toolkit.secrets import mask


def identified(draft: Draft, submission: Submission) -> Prepared:
    """The last step: the draft becomes a run that could begin, with what it may share and what it would continue.

    Raises:
        BrokenPlugin: the engine or the client fails.
    """
    settings, workplace = draft.settings, draft.workplace
    with blaming("engine", settings.engine):
        of_engine = with_named_variables(draft.engine, draft.engine.identity(workplace), workplace)
    with blaming("benchmark", settings.benchmark):
        of_client = with_named_variables(draft.benchmark, draft.benchmark.identity(workplace), workplace)
        parts = measurement_parts(settings, of_engine, of_client)
    measurement = measurement_identity(parts)
    seed = submission.seed if submission.seed is not None else (draft.loaded.seed or 0)
    return Prepared(
        submission=submission,
        draft=draft,
        seed=seed,
        parts=mask("", parts),
        measurement_identity=measurement,
        run_identity=run_identity(measurement, settings, seed),
    )


def measurement_parts(settings: RunSettings, engine: Mapping[str, str], benchmark: Mapping[str, str]) -> dict[str, str]:
    """What a measured value depends on, by name. Two runs with equal parts may share results."""
    fixed = {
        field.name: field.constant if field.constant is not None else field.value
        for field in settings.fields
        if field.constant is not None or field.min == field.max
    }
    # an engine names the values of a configuration file after their positions: those of fields are decided here
    decided = {field.config_position for field in settings.fields}
    parts = {
        "engine": settings.engine,
        "benchmark": settings.benchmark,
        "fixed": _canonical(fixed),
        "managed": str(settings.manage_lifecycle).lower(),
        "host": host_class(),
        "sample": str(settings.sample or ""),
        **{f"engine.{key}": value for key, value in engine.items() if key not in decided},
        **{f"benchmark.{key}": value for key, value in benchmark.items()},
    }
    if settings.objective.maximise == GOODPUT:  # its value, unlike the others', depends on the limits
        parts[GOODPUT] = _canonical(msgspec.to_builtins(settings.objective.slos))
    return dict(sorted(parts.items()))


def measurement_identity(parts: Mapping[str, str]) -> str:
    """SHA-256 over the parts, as hexadecimal digits."""
    return _digest(dict(parts))


def run_identity(measurement: str, settings: RunSettings, seed: int) -> str:
    """The measurement identity with the space, the initial objective and the settings of the search.

    Budgets and time limits are not part of it: who raises them wants the same run to go on.
    """
    search = msgspec.to_builtins(msgspec.structs.replace(settings.search, iters=0))  # a budget, like the others
    # these came later: runs that leave them at their defaults keep their identity
    came_later = {
        "rules": default_rules(settings.search.strategy),
        "constraints": (),
        "audit_share": 0.05,
        "simulation": {},
    }
    for name, default in came_later.items():
        if getattr(settings.search, name) == default:
            del search[name]
    return _digest(
        {
            "measurement": measurement,
            "fields": msgspec.to_builtins(settings.fields),
            "objective": msgspec.to_builtins(settings.objective),
            "search": search | ({"files": settings.simulation_files} if settings.simulation_files else {}),
            "repeats": settings.measuring.repeats,
            "seed": seed,
        }
    )


@cache
def host_class() -> str:
    """Processor, number of cores and architecture of this machine; two machines of one kind give the same."""
    model = ""
    try:
        for line in content(Path("/proc/cpuinfo"), LARGEST_CONFIGURATION).decode(errors="replace").splitlines():
            if line.lower().startswith(("model name", "cpu part")):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        model = platform.processor()
    cores = len(list(Path("/sys/devices/system/cpu").glob("cpu[0-9]*")))
    return f"{platform.machine()} {model} x{cores}"


def _digest(value: object) -> str:
    return hashlib.sha256(_canonical(value).encode()).hexdigest()


def _canonical(value: object) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()
