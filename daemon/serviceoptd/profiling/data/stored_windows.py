"""Reads the profile store: the windows that real measurements left among the artefacts of a journal."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Mapping

import msgspec

from serviceopt_journal.artefacts import ArtefactStore
from serviceopt_journal.codec import UNDECODABLE, Recorded
from serviceopt_journal.errors import NotFound
from serviceopt_journal.events import MeasurementFinished, MeasurementRejected, RunSubmitted
from serviceoptd.domain.stopping.engine_windows import ARTEFACT, StoredService, Window
from serviceoptd.simulation.step_times.profile_data import ProfileRejected
from serviceoptd.simulation.step_times.windows import WindowedRun, as_windows

EVENTS = ("run_submitted", "measurement_finished", "measurement_rejected")
"""What has to be read of a journal."""

Events = Iterable[Recorded]


def stored_windows(events: Events, artefacts: ArtefactStore, runs: Collection[int] = ()) -> tuple[WindowedRun, ...]:
    """Every real measurement of a journal that left its windows, in the order of time.

    Args:
        events: of the journal, at least those of EVENTS.
        artefacts: what the journal refers to.
        runs: only these; empty: all.

    Raises:
        NotFound: there is no such run.
        ProfileRejected: nothing is stored, a file is not there or cannot be read, or the runs measured different services.
        JournalDamaged: a file is not what was kept.
    """
    services: dict[int, Mapping[str, str]] = {}
    kept: list[tuple[int, str, str]] = []
    for recorded in events:
        event = recorded.event
        if isinstance(event, RunSubmitted):
            services[event.run] = _service(event.identity_parts)
        elif isinstance(event, MeasurementFinished | MeasurementRejected) and ARTEFACT in event.artefacts:
            name = f"run {event.run}, evaluation {event.evaluation}, measurement {event.measurement}"
            kept.append((event.run, name, event.artefacts[ARTEFACT]))
    if unknown := set(runs) - services.keys():
        raise NotFound(f"there is no run {min(unknown)}", hint="`serviceoptctl runs` lists them")
    kept = [each for each in kept if not runs or each[0] in runs]
    if not kept:
        raise ProfileRejected(
            "the journal",
            "has no real measurement with windows of its engine's steps",
            hint="a vLLM that a run starts leaves them, unless [profile] store is false; or record steps with `profile`",
        )
    _refuse_different({run: services[run] for run, _, _ in kept})
    return tuple(_read(name, digest, artefacts) for _, name, digest in kept)


def _service(parts: Mapping[str, str]) -> dict[str, str]:
    """Of what a measured value depends on, what the time of a step does."""
    return {name: value for name, value in parts.items() if name in ("engine", "host") or name.startswith("engine.")}


def _refuse_different(services: Mapping[int, Mapping[str, str]]) -> None:
    (first, expected), *others = services.items()
    for run, found in others:
        if different := sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name)):
            raise ProfileRejected(
                "the journal",
                f"runs {first} and {run} measured different services ({', '.join(different)})",
                hint="choose those of one with --run, once for each run",
            )


def _read(name: str, digest: str, artefacts: ArtefactStore) -> WindowedRun:
    try:
        with artefacts.open(digest) as stream:
            written = stream.read()
    except NotFound as error:
        raise ProfileRejected(
            name, f"its {ARTEFACT} is not kept any more", hint="choose other runs with --run"
        ) from error
    try:
        described, *table = written.decode().splitlines()
        service = msgspec.json.decode(described.removeprefix("# "), type=StoredService)
        found = [msgspec.convert(row, Window, strict=False) for row in csv.DictReader(table)]
    except (ValueError, csv.Error, *UNDECODABLE) as error:
        raise ProfileRejected(name, f"its {ARTEFACT} cannot be read: {error}") from error
    configuration = msgspec.json.encode(service.configuration, order="sorted").decode()
    return WindowedRun(name, configuration, as_windows(found))
