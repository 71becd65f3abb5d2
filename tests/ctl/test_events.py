"""events: like journalctl."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import pytest
from click.testing import Result
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import BEGIN, Story, a_finished_story, a_journal, some_metrics
from serviceopt_journal import events as e
from serviceopt_journal.codec import EventNotStorable, encode_commit
from serviceopt_journal.metrics import Metrics
from serviceopt_journal.store import Journal
from serviceoptctl.documents import Record
from serviceoptctl.render.event_lines import FAILURES, NOTEWORTHY, TYPES, line, phrase, said, short_line

Invoke = Callable[..., Result]
TAGS = {kind.__struct_config__.tag: kind for kind in e.EVENT_TYPES}


def seqs(output: str) -> list[int]:
    return [json.loads(text)["seq"] for text in output.splitlines()]


def test_every_type_of_event_has_a_phrase_of_its_own() -> None:
    assert set(TYPES) == set(TAGS)
    assert set(TAGS) > NOTEWORTHY
    assert set(TAGS) > FAILURES


FINITE = st.floats(allow_nan=False, allow_infinity=False)
METRICS = st.builds(
    some_metrics,
    st.floats(1e-3, 1e9),
    ttft=st.floats(0, 1e6),
    tpot=st.floats(0, 1e6),
    completed=st.integers(1, 500),
    failed=st.integers(0, 9),
)
SPECIAL: dict[Any, st.SearchStrategy[Any]] = {
    float: FINITE,
    float | None: st.none() | FINITE,
    tuple[float, ...]: st.lists(FINITE).map(tuple),
    Metrics: METRICS,
    Metrics | None: st.none() | METRICS,
    dict[str, Any]: st.dictionaries(st.text(), st.integers() | st.text()),
}


def some(kind: type[e.Event]) -> st.SearchStrategy[e.Event]:
    """Any event of this type."""
    if kind is e.RunSubmitted:
        return st.builds(lambda name: msgspec.structs.replace(next(Story().submitted()), name=name), st.text())
    every = get_type_hints(kind)
    hints = {field: every[field] for field in kind.__struct_fields__ if field != "v"}
    strategies = {field: SPECIAL[hint] if hint in SPECIAL else st.from_type(hint) for field, hint in hints.items()}
    return st.builds(kind, **strategies)


def storable(event: e.Event) -> bool:
    """Whether a journal takes it: a not-a-number cannot be read back."""
    try:
        encode_commit((event,), first_seq=3, time=BEGIN, monotonic=1.0, boot_id="here")
    except EventNotStorable:
        return False
    return True


@pytest.mark.parametrize("tag", TAGS)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_any_event_that_a_journal_can_hold_becomes_one_line(tag: str, data: st.DataObject) -> None:
    event = data.draw(some(TAGS[tag]).filter(storable))
    record = Record.of({"seq": 3, "time": BEGIN, "event": json.loads(msgspec.json.encode(event))})
    assert isinstance(record.event, TAGS[tag])
    for shown in (line(record), short_line(record), short_line(record, with_run=True)):
        assert len(shown.splitlines()) == 1
        assert "\x1b" not in shown


def test_an_event_of_a_newer_daemon_is_shown_by_its_name() -> None:
    record = Record.of({"seq": 3, "time": BEGIN, "event": {"type": "moon_rose", "v": 1, "run": 3}})
    assert (record.event, said(record)) == (None, "moon_rose")
    assert line(record).endswith("#3 run 3 moon_rose: moon_rose")


def test_an_event_of_a_newer_version_is_shown_by_its_name_too_and_told_with_every_key() -> None:
    told = {"type": "run_started", "v": 9, "run": 3, "why": "asked"}
    record = Record.of({"seq": 3, "time": BEGIN, "event": told})
    assert said(record) == "run_started"
    assert record.told["event"] == told


def test_an_event_of_an_older_daemon_is_shown_as_ours() -> None:
    told = {"type": "service_ready", "v": 1, "run": 3, "evaluation": 7, "attempt": 1, "waited": 12.3}
    assert said(Record.of({"seq": 3, "time": BEGIN, "event": told})) == "evaluation 7 ready after 12 s"


def test_every_type_of_event_is_shown_by_its_own_type() -> None:
    with pytest.raises(LookupError, match="Event"):
        phrase(e.Event())


def test_each_event_is_one_line_with_time_number_run_and_type(invoke: Invoke, state: Path) -> None:
    a_journal(state)
    lines = invoke("events").stdout.splitlines()
    assert lines[0] == "2026-03-01 12:00:10 #1 daemon_started: serviceoptd 0.1.0 started (pid 100), 0 events read"
    assert lines[5] == "2026-03-01 12:01:00 #6 run 1 service_launched: evaluation 1 launched (pid 4242)"
    assert lines[8].endswith("measurement 1 (particle 1) finished: 900 tok/s, TTFT 400 ms, TPOT 35.0 ms")
    assert "particle 6 rejected by memory-bound: needs 84 GiB of 80 GiB (700 tok/s predicted)" in "\n".join(lines)


def test_events_are_chosen_by_number_run_type_and_time(invoke: Invoke, state: Path) -> None:
    a_journal(state, a_finished_story(), a_finished_story(Story(run=2)))
    everything = [json.loads(text) for text in invoke("events", "--json").stdout.splitlines()]
    assert [record["seq"] for record in everything] == list(range(1, len(everything) + 1))

    assert seqs(invoke("events", "--json", "-n", "3").stdout) == [r["seq"] for r in everything[-3:]]
    of_second = [r["seq"] for r in everything if r["event"].get("run") == 2]
    assert seqs(invoke("events", "--json", "--run", "2").stdout) == of_second
    assert seqs(invoke("events", "--json", "--run", "latest").stdout) == of_second
    ready = [r["seq"] for r in everything if r["event"]["type"] in ("service_ready", "run_finished")]
    assert seqs(invoke("events", "--json", "--type", "service_ready", "--type", "run_finished").stdout) == ready
    since = [r["seq"] for r in everything if r["time"] >= BEGIN + 300]
    assert seqs(invoke("events", "--json", "--since", "2026-03-01T12:05:00+00:00").stdout) == since
    assert seqs(invoke("events", "--json", "--since", "2026-03-01T12:05:00+00:00", "-n", "2").stdout) == since[-2:]
    assert invoke("events", "--since", "1h").stdout == ""  # they are of another year


@pytest.mark.parametrize("wrong", ["yesterday", "2 x", "h", "2026-13-01", "-3h"])
def test_a_time_that_cannot_be_read_is_a_usage_error(invoke: Invoke, state: Path, wrong: str) -> None:
    a_journal(state)
    result = invoke("events", "--since", wrong)
    assert result.exit_code == 2
    assert "is neither a span such as 2h" in result.stderr


def test_an_unknown_type_is_a_usage_error(invoke: Invoke, state: Path) -> None:
    a_journal(state)
    assert invoke("events", "--type", "service_redy").exit_code == 2


def follower(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "serviceoptctl", "events", "-f", "--json", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))


def next_seq(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(json.loads(process.stdout.readline())["seq"])


def test_following_shows_the_last_ten_and_then_each_event_once_without_a_daemon(state: Path) -> None:
    a_journal(state)
    process = follower()
    try:
        first = [next_seq(process) for _ in range(10)]
        with Journal.open(state) as journal:
            for _ in range(3):
                journal.append(e.LogLevelChanged(level="DEBUG"))
        further = [next_seq(process) for _ in range(3)]
        assert first + further == list(range(first[0], first[0] + 13))
    finally:
        process.terminate()
        process.communicate()


def test_following_goes_on_across_a_restart_of_the_daemon(daemon: Callable[..., Any], state: Path) -> None:
    answering = daemon()
    process = follower("-n", "2")
    try:
        first = [next_seq(process) for _ in range(2)]
        answering.stop()
        assert process.stderr is not None
        assert process.stderr.readline() == "the daemon does not answer; waiting for it to come back\n"
        with Journal.open(state) as journal:
            journal.append(e.LogLevelChanged(level="DEBUG"), e.LogLevelChanged(level="INFO"))
        answering.restart()
        further = [next_seq(process) for _ in range(2)]
        assert first + further == list(range(first[0], first[0] + 4))
    finally:
        process.terminate()
        _, said = process.communicate()
    assert said == "the daemon is back\n"


def test_an_infeasible_end_is_told_in_the_events_too() -> None:
    story = Story()
    finished = next(story.finished(recommended=2, feasible=False))
    record = Record.of({"seq": 3, "time": BEGIN, "event": msgspec.to_builtins(finished)})
    assert short_line(record).endswith("particle 2 comes closest to the SLOs")
    assert some_metrics().success_rate == 1


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (e.RunResumed(run=1, measured_again=(1, 2, 4)), "resumed; particles 1, 2, 4 will be measured again"),
        (
            e.RunResumed(run=1, measured_again=(3,), reason="mended"),
            "resumed: mended; particle 3 will be measured again",
        ),
        (e.RunResumed(run=1), "resumed"),
    ],
)
def test_a_resumed_run_tells_what_will_be_measured_again(event: e.RunResumed, told: str) -> None:
    assert phrase(event) == told
