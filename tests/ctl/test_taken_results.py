"""A result that another particle or run takes is called what it was, in every output: simulated, predicted, ended early."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from click.testing import Result

from builders import Story, a_journal, some_metrics
from daemon.service.daemons import SMALL, a_loop, finished, submitted
from memory_journal import MemoryJournal
from serviceopt_journal import events as e
from serviceoptd.evaluating.ending_early import OBSERVED

Invoke = Callable[..., Result]
AT = {"MAX_NUM_SEQS": 128, "CONCURRENCY": 200}
RUN_2 = (
    ("events", "--run", "2"), ("status",), ("runs",), ("show", "2"), ("show", "2", "--particles"),
    ("show", "2", "--particle", "1"), ("best", "2"), ("best", "2", "--format", "shell"), ("best", "2", "--format", "env"),
    ("best", "2", "--format", "json"),
    ("export", "2"), ("export", "2", "--json"), ("export", "--all"), ("export", "--events"),
)  # fmt: skip
"""What shows the second run, whose only particle took its result from the first one."""


def taken(kind: str) -> Iterator[e.Event]:
    """A run whose one result is of this kind, and another that takes it."""
    first, second = Story(run=1, simulated=kind == "simulated"), Story(run=2, simulated=kind == "simulated")
    yield from first.submitted()
    for event in first.measured(some_metrics(2000), **AT):
        early = isinstance(event, e.MeasurementFinished) and kind == "ended early"
        yield msgspec.structs.replace(event, observed_by="metrics", remark=OBSERVED) if early else event
    yield from first.finished(recommended=1, feasible=True)
    yield from second.submitted()
    yield from second.proposed(**AT)
    told = "simulated" if kind == "simulated" else "measured"
    yield e.ParticleMatched(run=2, particle=1, same_as_run=1, same_as_particle=1, kind=told)  # type: ignore[arg-type]
    for event in second.finished(recommended=1, feasible=True):
        yield msgspec.structs.replace(event, kind=told)


@pytest.mark.parametrize("command", RUN_2, ids=" ".join)
def test_a_simulated_result_that_a_run_takes_is_called_so(
    invoke: Invoke, state: Path, command: tuple[str, ...]
) -> None:
    a_journal(state, taken("simulated"))
    shown = invoke(*command)
    assert shown.exit_code == 0, shown.output
    assert "simulated" in shown.stdout.lower(), shown.stdout
    assert "measured in an earlier run" not in shown.stdout


@pytest.mark.parametrize("command", RUN_2, ids=" ".join)
def test_a_measured_result_that_a_run_takes_is_never_called_simulated(
    invoke: Invoke, state: Path, command: tuple[str, ...]
) -> None:
    a_journal(state, taken("measured"))
    shown = invoke(*command)
    assert shown.exit_code == 0, shown.output
    told = shown.stdout.replace('"simulated": false', "").replace('""simulated"":false', "")
    assert "simulated" not in told.lower().replace('""simulated"": false', ""), shown.stdout


@pytest.mark.parametrize(
    "command", [("show", "2", "--particle", "1"), ("show", "2", "--particles", "--json"), ("best", "2"),
                ("best", "2", "--json"), ("export", "2"), ("export", "--all"), ("events", "--run", "1")], ids=" ".join
)  # fmt: skip
def test_a_result_that_was_ended_early_says_so_wherever_it_is_taken(
    invoke: Invoke, state: Path, command: tuple[str, ...]
) -> None:
    a_journal(state, taken("ended early"))
    shown = invoke(*command)
    assert shown.exit_code == 0, shown.output
    assert OBSERVED in " ".join(shown.stdout.split()), shown.stdout


@pytest.mark.parametrize("kind", ["simulated", "measured", "predicted", ""])
def test_each_line_of_particles_says_what_the_result_is_that_it_takes(invoke: Invoke, state: Path, kind: str) -> None:
    story = Story(simulated=kind == "simulated")
    events = list(story.submitted())
    if kind == "predicted":
        events += story.rejected("needs 84 GiB of 80 GiB", some_metrics(700), **AT)
    elif kind:
        events += story.measured(some_metrics(2000), **AT)
    else:
        events += story.failed("out of memory", **AT)
    events += [
        msgspec.structs.replace(event, kind=kind) if isinstance(event, e.ParticleMatched) else event
        for event in story.matched(1, **AT)
    ]
    a_journal(state, iter(events))
    told = json.loads(invoke("show", "1", "--particles", "--json").stdout)["particles"]
    assert [particle["kind"] for particle in told] == [kind, kind]
    assert [particle["simulated"] for particle in told] == [kind == "simulated"] * 2
    words = f" ({kind})" if kind in ("simulated", "predicted") else ""
    (line,) = [line for line in invoke("show", "1", "--particles").stdout.splitlines() if "as particle 1" in line]
    assert line.endswith(f"as particle 1 of run 1{words}")
    (line,) = [line for line in invoke("events", "--run", "1").stdout.splitlines() if "again" in line]
    assert line.endswith(f"particle 2 is particle 1 of run 1 again{words}")


def test_the_view_of_the_best_says_that_it_is_simulated(state: Path) -> None:
    a_journal(state, taken("simulated"))
    with closing(sqlite3.connect(state / "journal.db")) as connection:
        assert connection.execute("SELECT run, simulated FROM best ORDER BY run").fetchall() == [(1, 1), (2, 1)]


def test_the_daemon_records_what_a_particle_takes_and_a_run_recommends(tmp_path: Path) -> None:
    """Two runs of one identity and seed on the simulated service: the second one takes all that it can."""

    async def story() -> MemoryJournal:
        journal = MemoryJournal()
        for name in ("one", "two"):
            context, work = a_loop(tmp_path, journal)
            await finished(context, work, await submitted(context, SMALL, name=name, seed=7))
        return journal

    journal = asyncio.run(story())
    events = [record.event for record in journal.records]
    matched = [event for event in events if isinstance(event, e.ParticleMatched) and event.run == 2]
    assert matched
    assert {event.kind for event in matched} == {"simulated"}
    assert [event.kind for event in events if isinstance(event, e.RunFinished)] == ["simulated"] * 2


def test_the_exported_events_of_a_match_carry_the_kind(invoke: Invoke, state: Path) -> None:
    a_journal(state, taken("simulated"))
    rows = list(csv.DictReader(io.StringIO(invoke("export", "--events").stdout)))
    payloads = {row["type"]: json.loads(row["payload"]) for row in rows if row["run"] == "2"}
    assert payloads["particle_matched"]["kind"] == "simulated"
    assert payloads["run_finished"]["kind"] == "simulated"
