from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journal_builders import BOOT_ID, any_event, some_metrics
from serviceopt_journal.codec import EventNotStorable, Recorded, decode, encode, encode_commit
from serviceopt_journal.errors import JournalDamaged, JournalFromTheFuture
from serviceopt_journal.events import Event, MeasurementFinished, RunPaused, RunStarted, ServiceReady
from serviceopt_journal.upcasting import upcast


def stored(*events: Event, first_seq: int = 1) -> tuple[list[bytes], tuple[Recorded, ...]]:
    return encode_commit(tuple(events), first_seq=first_seq, time=1.75e9, monotonic=3.5, boot_id=BOOT_ID)


@settings(deadline=None, max_examples=100)
@given(st.lists(any_event(), min_size=1, max_size=3), st.integers(1, 2**40), st.floats(0, 1e10), st.floats(0, 1e10))
def test_every_event_is_read_back_as_it_was_written(
    events: list[Event], first_seq: int, time: float, monotonic: float
) -> None:
    bodies, records = encode_commit(tuple(events), first_seq=first_seq, time=time, monotonic=monotonic, boot_id=BOOT_ID)
    assert [recorded.event for recorded in records] == events
    assert [decode(body) for body in bodies] == list(records)
    assert [encode(recorded) for recorded in records] == bodies
    assert [recorded.seq for recorded in records] == list(range(first_seq, first_seq + len(events)))
    assert {(recorded.commit, recorded.time, recorded.monotonic) for recorded in records} == {
        (first_seq, time, monotonic)
    }


@settings(deadline=None, max_examples=100)
@given(any_event())
def test_what_is_stored_is_plain_json_with_type_and_version(event: Event) -> None:
    (body,), _ = stored(event)
    fields = json.loads(body)["event"]
    assert fields["type"] == type(event).__struct_config__.tag
    assert fields["v"] == event.v


def test_a_nan_is_refused_before_it_makes_the_journal_unreadable() -> None:
    with pytest.raises(EventNotStorable, match="ServiceReady"):
        stored(RunStarted(run=1), ServiceReady(run=1, evaluation=1, attempt=1, waited=float("nan")))


def test_a_value_of_another_type_is_refused() -> None:
    with pytest.raises(EventNotStorable, match="RunPaused"):
        stored(RunPaused(run="one", reason="x"))  # type: ignore[arg-type]
    with pytest.raises(EventNotStorable, match="RunPaused"):
        stored(RunPaused(run=1, reason=Path("x")))  # type: ignore[arg-type]
    with pytest.raises(EventNotStorable, match="RunPaused"):
        stored(RunPaused(run=1, reason="\ud800"))


def test_an_unknown_type_comes_from_the_future() -> None:
    (body,), _ = stored(RunStarted(run=1), first_seq=12)
    with pytest.raises(JournalFromTheFuture, match=r"event 12 is a 'run_teleported' of version 1"):
        decode(body.replace(b"run_started", b"run_teleported"))


def test_a_newer_version_of_a_known_type_comes_from_the_future() -> None:
    (body,), _ = stored(RunStarted(run=1), first_seq=12)
    with pytest.raises(JournalFromTheFuture, match=r"event 12 is a 'run_started' of version 2"):
        decode(body.replace(b'"v":1', b'"v":2'))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"run":1', b'"run":"one"'),
        (b'"run":1', b'"walk":1'),
        (b'"type":"run_started"', b'"kind":"run_started"'),
        (b'"v":1', b'"v":0'),
        (b'"event"', b'"evert"'),
        (b"{", b"["),
        (b"run_started", b"run_\xffstarted"),
    ],
)
def test_bytes_that_are_no_record_are_damage(old: bytes, new: bytes) -> None:
    (body,), _ = stored(RunStarted(run=1))
    assert old in body
    with pytest.raises(JournalDamaged):
        decode(body.replace(old, new))


def test_a_field_that_was_added_later_takes_its_default() -> None:
    (body,), _ = stored(RunPaused(run=1, reason="x", held=False))
    assert decode(body.replace(b',"held":false', b"")).event == RunPaused(run=1, reason="x")


def test_dictionaries_keep_the_order_they_came_in_so_that_replay_equals_live() -> None:
    metrics = msgspec.structs.replace(some_metrics(), ttft={"p99": 2.0, "mean": 1.0, "min": 0.5})
    event = MeasurementFinished(run=1, particle=1, evaluation=1, measurement=1, attempt=1, metrics=metrics, seconds=1.0)
    (body,), _ = stored(event)
    again = decode(body).event
    assert isinstance(again, MeasurementFinished)
    assert list(again.metrics.ttft) == ["p99", "mean", "min"]


def test_old_versions_are_lifted_step_by_step_and_only_then() -> None:
    steps = {
        ("run_paused", 1): lambda fields: {**fields, "reason": fields["why"]},
        ("run_paused", 3): lambda fields: {**fields, "held": fields["reason"] == "disk"},
    }
    versions = {"run_paused": 4}
    old = {"type": "run_paused", "v": 1, "run": 1, "why": "disk"}
    lifted = upcast(5, old, upcasters=steps, versions=versions)
    assert lifted == {"type": "run_paused", "v": 4, "run": 1, "why": "disk", "reason": "disk", "held": True}
    assert old == {"type": "run_paused", "v": 1, "run": 1, "why": "disk"}
    newest = {"type": "run_paused", "v": 4, "run": 1}
    assert upcast(5, newest, upcasters=steps, versions=versions) == newest


def test_the_facts_can_be_imported_without_a_database() -> None:
    from subprocess import run

    code = (
        "import sys, serviceopt_journal.events, serviceopt_journal.errors, serviceopt_journal.metrics\n"
        "assert not {'sqlite3', 'sqlite_utils'} & set(sys.modules), sorted(sys.modules)\n"
        "import serviceopt_journal.reader, serviceopt_journal.store\n"
        "assert 'sqlite_utils' not in sys.modules and 'numpy' not in sys.modules\n"
    )
    run([sys.executable, "-c", code], check=True)
