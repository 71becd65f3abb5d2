"""Builders for the journal's tests: events of every type, journals in every state, and damage."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import types
import typing
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
from hypothesis import strategies as st

from serviceopt_journal.events import (
    EVENT_TYPES,
    EvaluationFinished,
    EvaluationInterrupted,
    Event,
    MeasurementFailed,
    MeasurementFinished,
    MeasurementRejected,
    MeasurementStarted,
    ParticleMatched,
    ParticleProposed,
    ParticleRejected,
    RunFinished,
    RunStarted,
    RunSubmitted,
    ServiceLaunching,
    ServiceReady,
    ServiceStopped,
)
from serviceopt_journal.metrics import Metrics
from serviceopt_journal.store import Journal

BOOT_ID = "0b2c8a5e-bd4b-4c66-a3d6-0aa3d3bb4a52"

_text = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
_integers = st.integers(-(2**63), 2**63 - 1)
_floats = st.floats(allow_nan=False, allow_infinity=False)
_json = st.recursive(
    st.none() | st.booleans() | _integers | _floats | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=5,
)


class StoppedClock:
    """A clock that stands still until it is told to go on."""

    def __init__(self, wall: float = 1_750_000_000.25, monotonic: float = 12.5) -> None:
        self.now = wall
        self.since_boot = monotonic

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.since_boot

    def boot_id(self) -> str:
        return BOOT_ID


def any_event() -> st.SearchStrategy[Event]:
    """Events of every type with every field filled."""
    return st.one_of([any_struct(event_type) for event_type in EVENT_TYPES])


def any_struct(struct: type) -> st.SearchStrategy:
    hints = typing.get_type_hints(struct)
    names = [field.name for field in msgspec.structs.fields(struct) if field.name != "v"]
    return st.builds(struct, **{name: _values(hints[name]) for name in names})


def _values(hint: object) -> st.SearchStrategy:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {types.UnionType, typing.Union}:
        return st.one_of([_values(argument) for argument in arguments])
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if origin is tuple and arguments[-1] is not ...:
        return st.tuples(*map(_values, arguments))
    if origin is tuple:
        return st.lists(_values(arguments[0]), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(_values(arguments[0]), _values(arguments[1]), max_size=3)
    simple = {
        bool: st.booleans(),
        int: _integers,
        float: _floats,
        str: _text,
        types.NoneType: st.none(),
        typing.Any: _json,
    }
    return any_struct(hint) if isinstance(hint, type) and issubclass(hint, msgspec.Struct) else simple[hint]


def some_metrics(generate_speed: float = 5000.0) -> Metrics:
    return Metrics(
        generate_speed=generate_speed,
        throughput=12.5,
        success_rate=1.0,
        completed=1000,
        failed=0,
        duration=80.0,
        ttft={"mean": 0.5, "p99": 1.25},
        tpot={"mean": 0.03, "p99": 0.05},
    )


def a_run(run: int = 1, speeds: tuple[float, ...] = (4000.0, 6000.0, 5000.0), *, finished: bool = True) -> list[Event]:
    """A run with one evaluation for each speed, one rejection, one interruption, one failure and one match."""
    events: list[Event] = [
        RunSubmitted(
            run=run,
            name=f"run {run}",
            settings={"engine": "simulated", "benchmark": "simulated"},
            seed=7,
            run_identity="r" * 64,
            measurement_identity="m" * 64,
            identity_parts={"engine": "simulated 1"},
        ),
        RunStarted(run=run),
    ]
    for number, speed in enumerate(speeds, 1):
        events += _an_evaluation(run, number, speed)
    rejected, matched = len(speeds) + 1, len(speeds) + 2
    events += [
        _a_proposal(run, rejected),
        ParticleRejected(run=run, particle=rejected, rule="memory", reason="needs 90 GiB", predicted=some_metrics(1.0)),
        _a_proposal(run, matched),
        ParticleMatched(run=run, particle=matched, same_as_run=run, same_as_particle=1),
    ]
    if finished:
        events.append(RunFinished(run=run, outcome="completed", reason="budget used", recommended=1, feasible=True))
    return events


def _a_proposal(run: int, particle: int) -> ParticleProposed:
    return ParticleProposed(
        run=run,
        particle=particle,
        slot=0,
        iteration=particle,
        position=(0.25, 0.5),
        velocity=(0.0, 0.125),
        configuration={"MAX_NUM_SEQS": 32 * particle, "CONCURRENCY": 10},
        strategy="swarm",
        origin="swarm",
    )


def _an_evaluation(run: int, number: int, speed: float) -> list[Event]:
    place = {"run": run, "evaluation": number, "attempt": 1}
    measured = {"run": run, "particle": number, "evaluation": number, "attempt": 1}
    started = {
        **measured,
        "launch_id": f"m{number}",
        "concurrency": 10,
        "request_rate": None,
        "num_prompts": 100,
        "seed": 1,
    }
    return [
        _a_proposal(run, number),
        ServiceLaunching(**measured, launch_id=f"l{number}", argv=("engine", "--seqs", "32")),
        EvaluationInterrupted(**place, reason="the daemon was killed"),
        ServiceLaunching(**{**measured, "attempt": 2}, launch_id=f"k{number}"),
        ServiceReady(**{**place, "attempt": 2}, waited=1.5),
        MeasurementStarted(**started, measurement=1),
        MeasurementFailed(**measured, measurement=1, kind="exited", reason="exit status 7", exit_status=7),
        MeasurementStarted(**started, measurement=2),
        MeasurementFinished(**measured, measurement=2, metrics=some_metrics(speed), seconds=80.0),
        MeasurementStarted(**started, measurement=3),
        MeasurementRejected(**measured, measurement=3, rule="slo", reason="TTFT above 2 s"),
        ServiceStopped(**{**place, "attempt": 2}),
        EvaluationFinished(run=run, evaluation=number, particles=(number,), error="exit status 7", seconds=90.0),
    ]


def a_journal(directory: Path, *commits: list[Event]) -> Path:
    """A closed journal with these commits (by default two runs' events, in commits of three)."""
    events = [*a_run(1), *a_run(2, finished=False)]
    with Journal.open(directory, clock=StoppedClock()) as journal:
        for commit in commits or [events[start : start + 3] for start in range(0, len(events), 3)]:
            journal.append(*commit)
    return directory


def contents(directory: Path) -> dict[str, bytes]:
    """Every file below the directory, byte for byte."""
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@contextmanager
def tampering(directory: Path) -> Iterator[sqlite3.Connection]:
    """A connection of somebody who knows SQLite: the triggers are out of the way meanwhile, and back afterwards."""
    with closing(sqlite3.connect(directory / "journal.db", isolation_level=None)) as connection:
        triggers = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        yield connection
        for _, sql in triggers:
            connection.execute(sql)


_APPENDER = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from journal_builders import a_run
from serviceopt_journal.store import Journal
journal = Journal.open(Path({directory!r}))
events = a_run(1) * 1000
print("ready", journal.head.seq, flush=True)
for number in range({commits}):
    records = journal.append(*events[number : number + 1 + number % 4])
    print("acknowledged", records[-1].seq, flush=True)
"""


def appender(directory: Path, commits: int = 1_000_000) -> subprocess.Popen[str]:
    """A process that opens the journal, prints its head, and then every event that it got acknowledged."""
    script = _APPENDER.format(tests=str(Path(__file__).parent), directory=str(directory), commits=commits)
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)


def a_killed_journal(directory: Path, commits: int = 40) -> list[int]:
    """A journal whose writer was killed after so many commits; returns the acknowledged events' numbers."""
    acknowledged: list[int] = []
    with appender(directory) as process:
        assert process.stdout is not None
        for line in process.stdout:
            word, seq = line.split()
            if word == "acknowledged":
                acknowledged.append(int(seq))
            if len(acknowledged) == commits:
                break
        process.kill()
        for line in process.stdout:
            if line.startswith("acknowledged") and line.endswith("\n"):
                acknowledged.append(int(line.split()[1]))
    return acknowledged


def flipped(stored: bytes, position: int, bit: int) -> bytes:
    changed = bytearray(stored)
    changed[position] ^= 1 << bit
    return bytes(changed)


def sampled(length: int, count: int, seed: int = 7) -> list[tuple[int, int]]:
    """(byte, bit) places all over a file of this length, always the same."""
    chooser = random.Random(seed)
    return [(chooser.randrange(length), chooser.randrange(8)) for _ in range(count)]
