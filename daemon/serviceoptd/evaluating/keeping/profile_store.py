"""What a measurement tells about its engine's steps, kept among its artefacts for `train --journal`."""

from __future__ import annotations

from serviceopt_journal.events import MeasurementStarted
from serviceoptd.domain.settings import LOAD_NAMES
from serviceoptd.domain.state import RunState
from serviceoptd.domain.stopping.engine_windows import ARTEFACT, StoredService, as_csv, windows
from serviceoptd.evaluating.observing import Observer


def windows_to_keep(run: RunState, started: MeasurementStarted, observer: Observer | None) -> dict[str, bytes]:
    """Name and content of the file; empty where the run stores no profile, or the service did not tell of its steps."""
    if observer is None or not run.settings.store_profile:
        return {}
    closed_loop = started.concurrency is not None and started.request_rate is None
    found = windows(observer.looks, observer.at_rest, replaced=closed_loop)
    if not found:
        return {}
    service = stored_service(run, started)
    return {ARTEFACT: as_csv(service, found).encode()}


def stored_service(run: RunState, started: MeasurementStarted) -> StoredService:
    """What the windows were measured of."""
    load = {field.name for field in run.settings.fields if field.load} | LOAD_NAMES
    configuration = run.particles[started.particle].configuration
    return StoredService(
        engine=run.settings.engine,
        version=run.identity_parts.get("engine.version", ""),
        configuration={name: value for name, value in configuration.items() if name not in load},
        options=run.settings.model_facts.arguments,
        kv_blocks=run.evaluations[started.evaluation].kv_blocks,
        concurrency=started.concurrency,
        request_rate=started.request_rate,
        num_prompts=started.num_prompts,
    )
