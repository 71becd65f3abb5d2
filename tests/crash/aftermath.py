"""What has to hold after a run that was attacked: its journal against the uninterrupted run's, and against what was done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serviceopt_journal import events as e
from serviceopt_journal.codec import Recorded


def of(recorded: Sequence[Recorded], *types: type[e.Event]) -> list[Any]:
    """The events of these types, in order."""
    return [record.event for record in recorded if isinstance(record.event, types)]


def found(recorded: Sequence[Recorded]) -> dict[str, list[Any]]:
    """What was proposed, what came of it, and what is recommended: equal for equal results and durations."""
    return {
        "proposals": [
            (event.particle, event.slot, event.iteration, event.position, event.velocity, event.configuration,
             event.origin, event.predicted, event.probability_feasible, event.expected_gain)
            for event in of(recorded, e.ParticleProposed)
        ],
        "measurements": [(event.particle, event.metrics) for event in of(recorded, e.MeasurementFinished)],
        "failures": [
            (type(event).__name__, event.evaluation, event.reason)
            for event in of(recorded, e.MeasurementFailed, e.ServiceFailed)
            if not event.will_retry
        ],
        "matches": [(event.particle, event.same_as_particle) for event in of(recorded, e.ParticleMatched)],
        "ends": [
            (event.outcome, event.reason, event.recommended, event.feasible) for event in of(recorded, e.RunFinished)
        ],
    }  # fmt: skip


def differences(recorded: Sequence[Recorded], uninterrupted: Sequence[Recorded]) -> list[str]:
    """Where this run came to something else than the uninterrupted one."""
    told: list[str] = []
    here, there = found(recorded), found(uninterrupted)
    for name, expected in there.items():
        if here[name] != expected:
            pairs = zip(here[name], expected, strict=False)
            at = next((number for number, (one, other) in enumerate(pairs) if one != other), len(expected))
            told.append(
                f"other {name} than the uninterrupted run's, from number {at} on "
                f"({len(here[name])} and {len(expected)}): {here[name][at : at + 1]} and {expected[at : at + 1]}"
            )
    return told


def did(account: Path) -> dict[str, list[str]]:
    """By the account of the programs themselves: what each launch did, in order."""
    done: dict[str, list[str]] = {}
    for line in account.read_text().splitlines() if account.exists() else ():
        launch, _, what = line.partition(" ")
        done.setdefault(launch, []).append(what)
    return done


def measured_again(recorded: Sequence[Recorded], account: Path) -> int:
    """Measurements that a client had finished, and that were interrupted before they were in the journal."""
    return sum(each[-1].startswith("client measured") for each in did(account).values()) - len(
        of(recorded, e.MeasurementFinished)
    )


def untrue(recorded: Sequence[Recorded], account: Path) -> list[str]:
    """Where the journal is not what the programs did: a measurement lost or repeated, a launch that nobody announced."""
    told: list[str] = []
    done = did(account)
    announced = {event.launch_id for event in of(recorded, e.ServiceLaunching, e.MeasurementStarted)}
    told += [f"launch {launch} was never announced" for launch in done if launch not in announced]
    started = {_attempt(event): event for event in of(recorded, e.MeasurementStarted)}
    ended = {_attempt(event) for event in of(recorded, e.MeasurementFinished, e.MeasurementFailed)}
    finished: Counter[tuple[int, ...]] = Counter()
    for record in recorded:
        event = record.event
        if isinstance(event, e.MeasurementStarted) and finished[_attempt(event)[:-1]]:
            told.append(f"event {record.seq} measures again what is measured: {_attempt(event)}")
        if isinstance(event, e.MeasurementFinished):
            finished[_attempt(event)[:-1]] += 1
            launch = started[_attempt(event)].launch_id
            truth = f"client measured {event.metrics.generate_speed!r}"
            if done.get(launch, [])[-1:] != [truth]:
                told.append(f"event {record.seq} tells another result than its client's: {truth}, {done.get(launch)}")
    told += [f"measurement {key} was finished {times} times" for key, times in finished.items() if times > 1]
    interrupted = {(event.run, event.evaluation) for event in of(recorded, e.EvaluationInterrupted)}
    for attempt, event in started.items():  # what a client measured is in the journal, or its end is explained there
        measured = done.get(event.launch_id, [""])[-1].startswith("client measured")
        if measured and attempt not in ended and attempt[:2] not in interrupted:
            told.append(f"measurement {attempt} was done, and is not in the journal")
    told += [f"measurement {key} never came to its result" for key in {a[:-1] for a in started} if not finished[key]]
    return told


def _attempt(event: Any) -> tuple[int, ...]:
    return (event.run, event.evaluation, event.measurement, event.attempt)
