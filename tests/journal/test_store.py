from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journal_builders import BOOT_ID, StoppedClock, a_journal, a_killed_journal, a_run, any_event, appender, contents
from serviceopt_journal.anchor import read_anchor
from serviceopt_journal.chain import Head
from serviceopt_journal.codec import EventNotStorable, Recorded
from serviceopt_journal.errors import EnvironmentLacks, JournalFull, JournalLocked, JournalWriteFailed
from serviceopt_journal.events import Event, RunPaused, RunStarted, ServiceReady
from serviceopt_journal.store import Journal
from serviceopt_journal.verification import verify


def replayed(directory: Path) -> list[Recorded]:
    events: list[Recorded] = []
    Journal.open(directory, on_event=events.append).close()
    return events


def test_events_are_numbered_from_one_without_gaps(tmp_path: Path) -> None:
    with Journal.open(tmp_path, clock=StoppedClock()) as journal:
        assert journal.head.seq == 0
        first = journal.append(RunStarted(run=1), RunStarted(run=2))
        second = journal.append(RunStarted(run=3))
    assert [(one.seq, one.commit) for one in first + second] == [(1, 1), (2, 1), (3, 3)]


def test_clocks_are_recorded_and_order_nothing(tmp_path: Path) -> None:
    clock = StoppedClock(wall=100.0, monotonic=5.0)
    with Journal.open(tmp_path, clock=clock) as journal:
        journal.append(RunStarted(run=1))
        clock.now, clock.since_boot = 50.0, 4.0
        journal.append(RunStarted(run=2))
    assert [(one.seq, one.time, one.monotonic, one.boot_id) for one in replayed(tmp_path)] == [
        (1, 100.0, 5.0, BOOT_ID),
        (2, 50.0, 4.0, BOOT_ID),
    ]


def test_the_machines_clocks_are_used_when_no_other_is_given(tmp_path: Path) -> None:
    with Journal.open(tmp_path) as journal:
        (recorded,) = journal.append(RunStarted(run=1))
    assert recorded.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert recorded.time > 1.7e9
    assert 0 < recorded.monotonic < recorded.time


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(any_event(), min_size=1, max_size=4), min_size=1, max_size=4))
def test_a_replay_gives_exactly_what_append_returned(commits: list[list[Event]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        with Journal.open(Path(place)) as journal:
            appended = [one for commit in commits for one in journal.append(*commit)]
        assert replayed(Path(place)) == appended
        assert verify(Path(place)).problems == []


def test_what_append_returns_was_read_back(tmp_path: Path) -> None:
    """A tuple comes back as a list, a whole number where a float is meant as a float: live code has to see them so, too."""
    submitted = msgspec.structs.replace(a_run(1)[0], settings={"loads": (1, 2)})
    ready = ServiceReady(run=1, evaluation=1, attempt=1, waited=2)
    with Journal.open(tmp_path) as journal:
        appended = journal.append(submitted, ready)
    assert repr(appended) == repr(tuple(replayed(tmp_path)))
    assert appended[0].event.settings == {"loads": [1, 2]}


def test_a_commit_larger_than_one_statement_is_one_commit(tmp_path: Path) -> None:
    with Journal.open(tmp_path) as journal:
        journal.append(*[RunStarted(run=number) for number in range(1, 1235)])
        assert journal.head.seq == 1234
    assert {recorded.commit for recorded in replayed(tmp_path)} == {1}
    assert [recorded.event for recorded in replayed(tmp_path)] == [RunStarted(run=number) for number in range(1, 1235)]


def test_nothing_appended_is_no_commit(tmp_path: Path) -> None:
    with Journal.open(tmp_path) as journal:
        assert journal.append() == ()
        assert journal.head.seq == 0


def test_an_event_that_cannot_be_stored_takes_its_whole_commit_with_it(tmp_path: Path) -> None:
    with Journal.open(tmp_path) as journal:
        with pytest.raises(EventNotStorable):
            journal.append(RunStarted(run=1), ServiceReady(run=1, evaluation=1, attempt=1, waited=float("inf")))
        journal.append(RunStarted(run=2))
    assert [recorded.event for recorded in replayed(tmp_path)] == [RunStarted(run=2)]


def test_an_acknowledged_event_stands_in_the_database_and_in_the_anchor(tmp_path: Path) -> None:
    with Journal.open(tmp_path) as journal:
        for event in a_run(1):
            journal.append(event)
            slots = read_anchor(tmp_path)
            assert slots is not None
            assert slots.newest == journal.head
            with closing(sqlite3.connect(f"file:{tmp_path}/journal.db?mode=ro", uri=True)) as other:
                assert other.execute("SELECT max(seq) FROM event").fetchone() == (journal.head.seq,)


def test_every_commit_and_every_anchor_is_synced_before_append_returns(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from serviceopt_journal.store import Journal\n"
        "from serviceopt_journal.events import RunStarted\n"
        f"journal = Journal.open(Path({str(tmp_path / 'state')!r}))\n"
        "for number in range(5):\n"
        "    journal.append(RunStarted(run=number)); sys.stderr.write('acknowledged\\n'); sys.stderr.flush()\n"
        "import os; os._exit(0)\n"
    )
    trace = tmp_path / "trace"
    tracer = ["strace", "-y", "-e", "trace=pwrite64,fdatasync,fsync,write", "-o", str(trace)]
    try:
        done = subprocess.run([*tracer, sys.executable, "-c", script], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("strace is not installed")
    if "Operation not permitted" in done.stderr:
        pytest.skip("this container does not allow tracing")
    calls = [line for line in trace.read_text().splitlines() if "journal." in line or "acknowledged" in line]
    marks = [number for number, line in enumerate(calls) if "acknowledged" in line]
    assert len(marks) == 5
    for before, after in pairwise(marks):
        what = [
            (line.partition("(")[0], line.partition("journal.")[2].partition(">")[0])
            for line in calls[before + 1 : after]
        ]
        assert what[-4:] == [
            ("pwrite64", "db-wal"),
            ("fdatasync", "db-wal"),
            ("pwrite64", "anchor"),
            ("fdatasync", "anchor"),
        ]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE event SET body = '{}' WHERE seq = 1",
        "UPDATE event SET hash = zeroblob(32)",
        "UPDATE OR REPLACE event SET seq = 2 WHERE seq = 1",
        "DELETE FROM event",
        "DELETE FROM event WHERE seq = 2",
        "REPLACE INTO event SELECT 1, body, hash FROM event WHERE seq = 2",
        "INSERT OR REPLACE INTO event VALUES (1, '{}', zeroblob(32))",
    ],
)
def test_changing_or_deleting_an_event_is_refused(tmp_path: Path, statement: str) -> None:
    a_journal(tmp_path)
    before = replayed(tmp_path)
    with closing(sqlite3.connect(tmp_path / "journal.db")) as connection:
        connection.execute("PRAGMA recursive_triggers = ON")
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement)
    assert replayed(tmp_path) == before


def test_the_writers_own_connection_refuses_too(tmp_path: Path) -> None:
    with Journal.open(tmp_path) as journal:
        journal.append(RunStarted(run=1))
        for statement in ("REPLACE INTO event VALUES (1, '{}', zeroblob(32))", "DELETE FROM event"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                journal._connection.execute(statement)


def test_the_directory_is_made_for_owner_and_group_only(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        Journal.open(tmp_path / "deep" / "state").close()
    finally:
        os.umask(before)
    assert (tmp_path / "deep" / "state").stat().st_mode & 0o777 == 0o750
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "deep" / "state").iterdir()} == {0o640}


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentLacks, match="file/state"):
        Journal.open(tmp_path / "file" / "state")


def test_a_second_writer_is_told_who_the_first_is_and_changes_nothing(tmp_path: Path) -> None:
    with appender(tmp_path, commits=3) as process:
        assert process.stdout is not None
        process.stdout.readline()
        lines = [process.stdout.readline() for _ in range(3)]
        assert lines[-1].startswith("acknowledged")
    with Journal.open(tmp_path) as journal:
        before = contents(tmp_path)
        with pytest.raises(JournalLocked, match=f"process {os.getpid()} ") as caught:
            Journal.open(tmp_path)
        assert caught.value.exit_code == 7
        assert contents(tmp_path) == before
        journal.append(RunStarted(run=1))


def test_a_killed_writers_name_is_not_taken_for_the_holders(tmp_path: Path) -> None:
    a_killed_journal(tmp_path, commits=3)
    assert (tmp_path / "journal.lock").read_text() != ""
    journal = Journal.open(tmp_path)
    (tmp_path / "journal.lock").write_text("999999999 somebody else\n")
    with pytest.raises(JournalLocked, match="another process"):
        Journal.open(tmp_path)
    journal.close()
    assert (tmp_path / "journal.lock").read_text() == ""


def test_everything_acknowledged_is_there_after_every_kill(tmp_path: Path) -> None:
    acknowledged = 0
    for commits in (1, 2, 7, 30, 31, 64):
        seqs = a_killed_journal(tmp_path, commits)
        assert len(seqs) >= commits
        assert seqs[0] > acknowledged
        acknowledged = seqs[-1]
        events: list[Recorded] = []
        with Journal.open(tmp_path, on_event=events.append) as journal:
            assert journal.head.seq >= acknowledged
            # What was committed and not acknowledged is at most the one commit in flight.
            assert len({one.commit for one in events if one.seq > acknowledged}) <= 1
        assert [one.seq for one in events] == list(range(1, len(events) + 1))


def test_a_commit_that_missed_its_anchor_is_taken_over_whole(tmp_path: Path) -> None:
    events = a_run(1)
    with Journal.open(tmp_path) as journal:
        journal.append(*events[:3])
        before = (tmp_path / "journal.anchor").read_bytes()
        journal.append(*events[3:8])
        head = journal.head
    (tmp_path / "journal.anchor").write_bytes(before)
    assert verify(tmp_path).anchor_behind
    with Journal.open(tmp_path) as journal:
        assert journal.head == head
        slots = read_anchor(tmp_path)
        assert slots is not None
        assert slots.newest == head


def test_a_full_database_is_rolled_back_and_goes_on_after_reopening(tmp_path: Path) -> None:
    with Journal.open(tmp_path) as journal:
        journal.append(RunStarted(run=1))
        head = journal.head
        (pages,) = journal._connection.execute("PRAGMA page_count").fetchone()
        journal._connection.execute(f"PRAGMA max_page_count = {pages}")
        large = [RunPaused(run=1, reason="x" * 5000) for _ in range(20)]
        with pytest.raises(JournalFull) as caught:
            journal.append(*large)
        assert caught.value.exit_code == 4
        assert journal.head == head
        with pytest.raises(JournalFull):
            journal.append(RunStarted(run=2))
        journal.reopen()
        journal.append(*large)
    assert [recorded.event for recorded in replayed(tmp_path)] == [RunStarted(run=1), *large]


def until_full(journal: Journal, appended: int) -> int:
    """Appends one event after the other; returns the number of the last one that was acknowledged."""
    for number in range(appended + 1, 10_000):
        try:
            journal.append(RunPaused(run=number, reason="x" * 500))
        except JournalFull:
            return number - 1
    raise AssertionError("the disk never became full")


@pytest.fixture
def small_disk(tmp_path: Path) -> object:
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "serviceopt-test", str(place)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_is_really_full_loses_nothing_and_is_used_again_when_there_is_room(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(400 * 1024))
    with Journal.open(small_disk / "state") as journal:
        appended = until_full(journal, 0)
        assert appended > 0
        ballast.unlink()
        ballast.write_bytes(bytes(200 * 1024))
        journal.reopen()
        more = until_full(journal, appended)
        assert more > appended
        ballast.unlink()
        journal.reopen()
        journal.append(RunPaused(run=more + 1, reason="room again"))
        appended = more + 1
    assert [recorded.event.run for recorded in replayed(small_disk / "state")] == list(range(1, appended + 1))  # type: ignore[union-attr]


def test_a_commit_that_fails_otherwise_ends_all_writing(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    journal.append(RunStarted(run=1))
    journal._connection.execute("PRAGMA busy_timeout = 0")
    with closing(sqlite3.connect(tmp_path / "journal.db", isolation_level=None)) as intruder:
        intruder.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalWriteFailed, match="locked"):
            journal.append(RunStarted(run=2))
        intruder.execute("ROLLBACK")
    for retry in (lambda: journal.append(RunStarted(run=2)), journal.reopen):
        with pytest.raises(JournalWriteFailed):
            retry()
    journal.close()
    assert [recorded.event for recorded in replayed(tmp_path)] == [RunStarted(run=1)]


def test_a_failed_sync_leaves_the_write_ahead_log_as_it_is(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    for number in range(1, 6):
        journal.append(RunStarted(run=number))
    before = (tmp_path / "journal.db").read_bytes(), (tmp_path / "journal.anchor").read_bytes()
    assert journal._anchor is not None
    os.close(journal._anchor._descriptor)
    journal._anchor._descriptor = os.open("/dev/full", os.O_RDWR)
    with pytest.raises(JournalWriteFailed, match="anchor"):
        journal.append(RunStarted(run=6))
    log = (tmp_path / "journal.db-wal").read_bytes()
    journal.close()
    assert (tmp_path / "journal.db-wal").read_bytes() == log
    assert ((tmp_path / "journal.db").read_bytes(), (tmp_path / "journal.anchor").read_bytes()) == before
    # Committed, never acknowledged: replay decides, and it was one commit.
    assert len(replayed(tmp_path)) == 6


def test_a_closed_journal_takes_nothing_more(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    journal.close()
    journal.close()
    with pytest.raises(JournalWriteFailed, match="closed"):
        journal.append(RunStarted(run=1))


def test_an_empty_journal_is_opened_again(tmp_path: Path) -> None:
    Journal.open(tmp_path).close()
    with Journal.open(tmp_path) as journal:
        assert journal.head == Head(0, bytes(32))


@pytest.mark.parametrize("left", [("journal.lock",), ("journal.lock", "journal.db"), ("journal.anchor",)])
def test_a_first_start_that_was_interrupted_is_begun_again(tmp_path: Path, left: tuple[str, ...]) -> None:
    Journal.open(tmp_path).close()
    for path in tmp_path.iterdir():
        if path.name not in left:
            path.unlink()
    with Journal.open(tmp_path) as journal:
        journal.append(RunStarted(run=1))
    assert len(replayed(tmp_path)) == 1


def test_threads_take_turns(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with Journal.open(tmp_path) as journal, ThreadPoolExecutor(4) as pool:
        records = list(pool.map(lambda number: journal.append(RunStarted(run=number))[0], range(200)))
    assert sorted(recorded.seq for recorded in records) == list(range(1, 201))
    assert {recorded.seq: recorded for recorded in records} == {one.seq: one for one in replayed(tmp_path)}
