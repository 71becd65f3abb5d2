"""What judges the chaos can find against it: otherwise a run that lost something would pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from builders import Story, a_journal, some_metrics
from crash.aftermath import differences, measured_again, untrue
from serviceopt_journal import events as e
from stubs.scenario import records

FINISHED, ATTEMPT = e.MeasurementFinished, 2


def told() -> list[e.Event]:
    """A run of two measurements; the first one was done twice, since a kill came in between."""
    story = Story()
    events = [*story.submitted(), *story.measured(some_metrics(), A=1)]
    at = next(number for number, event in enumerate(events) if isinstance(event, e.MeasurementStarted))
    started = events[at]
    again = msgspec.structs.replace(started, attempt=ATTEMPT, launch_id="client-again")
    interrupted = e.EvaluationInterrupted(run=1, evaluation=1, attempt=1, reason="the daemon ended")
    launch = next(event for event in events if isinstance(event, e.ServiceLaunching))
    relaunched = msgspec.structs.replace(launch, attempt=ATTEMPT, launch_id="launch-again")
    events[at + 1 : at + 1] = [interrupted, relaunched, again]
    events = [
        msgspec.structs.replace(event, attempt=ATTEMPT) if isinstance(event, FINISHED) else event for event in events
    ]
    return [*events, *story.measured(some_metrics(), A=2), *story.finished(recommended=2, feasible=True)]


def account(events: list[e.Event]) -> list[str]:
    """What the programs of these launches did."""
    speed = some_metrics().generate_speed
    lines = []
    for event in events:
        if isinstance(event, e.ServiceLaunching):
            lines.append(f"{event.launch_id} service began")
        if isinstance(event, e.MeasurementStarted):
            lines += [f"{event.launch_id} client began", f"{event.launch_id} client measured {speed!r}"]
    return lines


def judged(tmp_path: Path, events: list[e.Event], lines: list[str]) -> str:
    (tmp_path / "account").write_text("\n".join(lines) + "\n")
    a_journal(tmp_path / "state", iter(events))
    return "; ".join(untrue(records(tmp_path / "state"), tmp_path / "account"))


def test_a_run_that_lost_nothing_is_true_also_where_a_kill_came_in_between(tmp_path: Path) -> None:
    events = told()
    assert judged(tmp_path, events, account(events)) == ""
    assert measured_again(records(tmp_path / "state"), tmp_path / "account") == 1


def without(kind: type[e.Event]) -> Callable[[list[e.Event]], list[e.Event]]:
    return lambda events: [event for event in events if not isinstance(event, kind)]


def another_speed(events: list[e.Event]) -> list[e.Event]:
    other = msgspec.structs.replace(some_metrics(), generate_speed=1.5)
    return [msgspec.structs.replace(x, metrics=other) if isinstance(x, FINISHED) else x for x in events]


def twice(events: list[e.Event]) -> list[e.Event]:
    return [each for event in events for each in [event] * (2 if isinstance(event, FINISHED) else 1)]


def started_again(events: list[e.Event]) -> list[e.Event]:
    started = next(event for event in events if isinstance(event, e.MeasurementStarted))
    return [*events, msgspec.structs.replace(started, attempt=3, launch_id="a-third")]


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (without(FINISHED), "was done, and is not in the journal"),
        (without(e.EvaluationInterrupted), "was done, and is not in the journal"),
        (another_speed, "tells another result than its client's"),
        (twice, "was finished 2 times"),
        (started_again, "measures again what is measured"),
    ],
    ids=["lost", "without an end", "another result", "twice", "again"],
)
def test_what_was_lost_repeated_or_changed_is_told(
    tmp_path: Path, change: Callable[[list[e.Event]], list[e.Event]], finding: str
) -> None:
    events = told()
    assert finding in judged(tmp_path, change(events), account(events))


def test_a_process_that_no_event_announced_is_told(tmp_path: Path) -> None:
    events = told()
    assert "launch stray was never announced" in judged(tmp_path, events, [*account(events), "stray service began"])


def test_another_proposal_result_or_end_is_told(tmp_path: Path) -> None:
    whole = records(a_journal(tmp_path / "whole", iter(told())))
    assert differences(whole, whole) == []
    for name, change in (("measurements", another_speed), ("ends", without(e.RunFinished))):
        other = records(a_journal(tmp_path / name, iter(change(told()))))
        assert [each.split()[1] for each in differences(other, whole)] == [name]
    moved = [msgspec.structs.replace(x, expected_gain=0.5) if isinstance(x, e.ParticleProposed) else x for x in told()]
    other = records(a_journal(tmp_path / "moved", iter(moved)))
    assert [each.split()[1] for each in differences(other, whole)] == ["proposals"]
