from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from journal_builders import StoppedClock, a_journal, a_killed_journal, a_run, appender, contents
from other_users import for_everybody
from serviceopt_journal.codec import Recorded
from serviceopt_journal.database import ReadPlan
from serviceopt_journal.errors import EnvironmentLacks, JournalDamaged
from serviceopt_journal.events import RunStarted
from serviceopt_journal.reader import JournalReader
from serviceopt_journal.store import Journal

NOBODY = 65534


@pytest.fixture
def reader(tmp_path: Path) -> JournalReader:
    return JournalReader.open(a_journal(tmp_path))


def test_a_reader_sees_what_was_written_in_order(tmp_path: Path, reader: JournalReader) -> None:
    events = list(reader.events())
    assert [recorded.event for recorded in events] == [*a_run(1), *a_run(2, finished=False)]
    replayed: list[Recorded] = []
    with Journal.open(tmp_path, on_event=replayed.append) as journal:
        assert replayed == events
        assert journal.head == reader.head()


def test_filters_select_exactly_what_they_say(reader: JournalReader) -> None:
    everything = list(reader.events())

    def seqs(**filters: object) -> list[int]:
        return [recorded.seq for recorded in reader.events(**filters)]  # type: ignore[arg-type]

    head = everything[-1].seq
    assert seqs(after=4, until=9) == [5, 6, 7, 8, 9]
    assert seqs(run=2) == [recorded.seq for recorded in everything if getattr(recorded.event, "run", None) == 2]
    assert seqs(types={"run_started"}) == [2, everything.index(everything[len(a_run(1)) + 1]) + 1]
    assert seqs(types=["measurement_failed", "measurement_finished"], run=1, limit=3) == [9, 11, 22]
    assert seqs(types=[]) == []
    assert seqs(limit=2) == [1, 2]
    assert seqs(limit=0) == []
    assert seqs(newest=3) == [head - 2, head - 1, head]
    assert seqs(newest=0) == []
    assert seqs(newest=10_000) == list(range(1, head + 1))
    assert seqs(newest=2, types={"run_submitted"}) == seqs(types={"run_submitted"})
    assert seqs(newest=5, until=9, limit=2) == [5, 6]
    assert seqs(since=1_750_000_000.25) == list(range(1, head + 1))
    assert seqs(since=1_750_000_000.5) == []


def test_since_counts_by_the_recorded_time(tmp_path: Path) -> None:
    clock = StoppedClock(wall=100.0)
    with Journal.open(tmp_path, clock=clock) as journal:
        for wall in (100.0, 200.0, 300.0):
            clock.now = wall
            journal.append(RunStarted(run=1))
    assert [recorded.time for recorded in JournalReader.open(tmp_path).events(since=200.0)] == [200.0, 300.0]


def test_more_events_than_one_query_takes_are_read_without_a_seam(tmp_path: Path) -> None:
    with Journal.open(tmp_path) as journal:
        journal.append(*[RunStarted(run=number) for number in range(1, 4501)])
    assert [recorded.seq for recorded in JournalReader.open(tmp_path).events()] == list(range(1, 4501))
    assert [recorded.seq for recorded in JournalReader.open(tmp_path).events(newest=4100, limit=3000)] == list(
        range(401, 3401)
    )


@pytest.mark.parametrize("body", [None, 7])
def test_an_event_without_text_is_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: object) -> None:
    reader = JournalReader.open(a_journal(tmp_path))
    monkeypatch.setattr(reader, "_rows", lambda sql, parameters: [(1, body)])
    with pytest.raises(JournalDamaged, match="event 1 has no text"):
        list(reader.events(limit=1))


def test_a_poll_gives_what_is_new_and_nothing_twice(tmp_path: Path) -> None:
    with Journal.open(tmp_path) as journal:
        journal.append(RunStarted(run=1))
        reader, follower = JournalReader.open(tmp_path), JournalReader.open(tmp_path)
        assert [recorded.seq for recorded in reader.poll()] == [recorded.seq for recorded in follower.poll()] == [1]
        assert reader.poll() == follower.poll() == []
        journal.append(*a_run(2)[:3])
        assert [recorded.seq for recorded in reader.poll(types={"run_started"})] == [3]
        assert reader.poll() == []
        assert [recorded.seq for recorded in follower.poll(run=2)] == [2, 3, 4]


def test_reading_never_holds_up_the_writers_checkpoint(tmp_path: Path) -> None:
    with Journal.open(tmp_path) as journal:
        journal.append(*[RunStarted(run=number) for number in range(1, 3000)])
        events = JournalReader.open(tmp_path).events()
        next(events)
        assert journal._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
        journal.append(RunStarted(run=3000))
        assert [recorded.seq for recorded in events] == list(range(2, 3001))


def test_reading_a_closed_journal_changes_no_file(tmp_path: Path) -> None:
    a_journal(tmp_path)
    before = contents(tmp_path)
    assert len(list(JournalReader.open(tmp_path).events())) > 50
    assert contents(tmp_path) == before


def test_a_writer_that_begins_while_a_closed_journal_is_read_is_noticed(tmp_path: Path) -> None:
    a_journal(tmp_path)
    with ReadPlan(tmp_path) as plan, closing(plan.connect()) as connection:
        connection.execute("SELECT count(*) FROM event").fetchone()
        assert plan.settled()
        with Journal.open(tmp_path) as journal:
            journal.append(RunStarted(run=1))
            assert not plan.settled()
        assert not plan.settled()


def test_a_reader_of_a_directory_that_is_just_being_made_sees_an_empty_journal(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"")
    reader = JournalReader.open(tmp_path)
    assert reader.head().seq == 0
    assert list(reader.events()) == reader.poll() == []


@pytest.fixture
def shared_place() -> Iterator[Path]:
    """A directory that other users reach; pytest's own is closed to them."""
    place = Path(tempfile.mkdtemp(prefix="serviceopt-test-"))
    place.chmod(0o755)
    yield place
    for path in place.rglob("*"):
        path.chmod(0o750)
    shutil.rmtree(place)


_READ = """
import json, os, sys
from pathlib import Path
from serviceopt_journal.reader import JournalReader
from serviceopt_journal.verification import verify
directory = Path(sys.argv[1])
assert not os.access(directory, os.W_OK)
reader = JournalReader.open(directory)
events = list(reader.events(types={"run_submitted", "run_started"}, run=1))
print(json.dumps({"head": reader.head().seq, "found": len(events), "problems": verify(directory).problems}))
"""


def read_as_group_member(directory: Path) -> dict[str, object]:
    """Reads as a user who is in the files' group and may write nothing; root can become one, others take the right away."""
    identity: dict[str, object] = {}
    if os.geteuid() == 0:
        identity = {"user": NOBODY, "group": directory.stat().st_gid, "extra_groups": []}
    else:
        for path in directory.iterdir():
            path.chmod(0o440)
        directory.chmod(0o550)
    for_everybody(sys.executable)
    done = subprocess.run(
        [sys.executable, "-c", _READ, str(directory)],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={**os.environ, "TMPDIR": "/tmp"},
        **identity,  # type: ignore[call-overload]
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, object] = json.loads(done.stdout)
    return result


def test_a_group_member_reads_with_the_daemon_down(shared_place: Path) -> None:
    directory = a_journal(shared_place / "state")
    before = contents(directory)
    head = JournalReader.open(directory).head().seq
    assert read_as_group_member(directory) == {"head": head, "found": 2, "problems": []}
    assert contents(directory) == before


@pytest.mark.parametrize("missing", [(), ("journal.db-shm",)])
def test_a_group_member_reads_what_a_killed_daemon_left(shared_place: Path, missing: tuple[str, ...]) -> None:
    directory = shared_place / "state"
    acknowledged = a_killed_journal(directory, commits=12)[-1]
    for name in missing:
        (directory / name).unlink()
    before = contents(directory)
    read = read_as_group_member(directory)
    assert isinstance(read["head"], int)
    assert read["head"] >= acknowledged
    assert read["problems"] == []
    assert contents(directory) == before


def test_a_group_member_reads_beside_companion_files_that_nobody_uses(shared_place: Path) -> None:
    directory = a_journal(shared_place / "state")
    head = JournalReader.open(directory).head().seq
    for left in (("journal.db-shm",), ("journal.db-shm", "journal.db-wal")):
        for name in left:
            (directory / name).write_bytes(b"")
            (directory / name).chmod(0o640)
        assert read_as_group_member(directory) == {"head": head, "found": 2, "problems": []}


def test_a_group_member_reads_beside_a_live_daemon(shared_place: Path) -> None:
    directory = shared_place / "state"
    with appender(directory) as process:
        assert process.stdout is not None
        for _ in range(30):
            last = process.stdout.readline()
        read = read_as_group_member(directory)
        process.kill()
    assert isinstance(read["head"], int)
    assert read["head"] >= int(last.split()[1])
    assert read["problems"] == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_named(reader: JournalReader, tmp_path: Path) -> None:
    (tmp_path / "journal.db").chmod(0)
    with pytest.raises(EnvironmentLacks, match=r"journal\.db"):
        JournalReader.open(tmp_path)


def test_plain_sqlite_reads_the_journal_too(tmp_path: Path) -> None:
    a_journal(tmp_path)
    with closing(sqlite3.connect(f"file:{tmp_path}/journal.db?mode=ro", uri=True)) as connection:
        rows = connection.execute("SELECT seq, type, run, particle FROM events WHERE seq IN (1, 3) ORDER BY seq")
        assert rows.fetchall() == [(1, "run_submitted", 1, None), (3, "particle_proposed", 1, 1)]
