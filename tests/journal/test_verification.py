from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from journal_builders import (
    a_journal,
    a_killed_journal,
    a_run,
    appender,
    contents,
    flipped,
    sampled,
    tampering,
)
from serviceopt_journal.codec import Recorded
from serviceopt_journal.errors import JournalDamaged, JournalError, JournalFromTheFuture, NotFound
from serviceopt_journal.events import RunStarted
from serviceopt_journal.reader import JournalReader
from serviceopt_journal.store import Journal
from serviceopt_journal.verification import verify


def refused(directory: Path, error: type[JournalError] = JournalDamaged) -> JournalError:
    """Opening fails, and every file of the directory is byte for byte what it was."""
    before = contents(directory)
    with pytest.raises(error) as caught:
        Journal.open(directory)
    assert contents(directory) == before
    return caught.value


def damaged_at(directory: Path) -> int | None:
    error = refused(directory)
    assert isinstance(error, JournalDamaged)
    assert error.exit_code == 6
    assert "journal verify" in error.hint
    assert "export" in error.hint
    assert error.first_bad_seq == verify(directory).first_bad_seq
    return error.first_bad_seq


def test_a_sound_journal_is_reported_with_its_head(tmp_path: Path) -> None:
    a_journal(tmp_path)
    before = contents(tmp_path)
    report = verify(tmp_path)
    assert report.sound
    assert report.problems == []
    assert report.error() is None
    assert report.events == report.head_seq == JournalReader.open(tmp_path).head().seq
    assert report.head == JournalReader.open(tmp_path).head()
    assert report.events_per_second > 0
    assert contents(tmp_path) == before


def test_a_journal_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        verify(tmp_path)
    with pytest.raises(NotFound):
        JournalReader.open(tmp_path)
    assert contents(tmp_path) == {}


def test_a_live_journal_is_verified_while_it_is_written(tmp_path: Path) -> None:
    with appender(tmp_path) as process:
        assert process.stdout is not None
        process.stdout.readline()
        heads = []
        for _ in range(20):
            process.stdout.readline()
            report = verify(tmp_path)
            assert report.problems == []
            heads.append(report.head_seq)
        process.kill()
    assert heads == sorted(heads)
    assert heads[-1] > heads[0]


def changed_body(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE event SET body = replace(body, '\"run\":1', '\"run\":2') WHERE seq = 5")


def changed_hash(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE event SET hash = zeroblob(32) WHERE seq = 5")


def changed_time(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE event SET body = replace(body, '1750000000.25', '1750000000.75') WHERE seq = 5")


def deleted(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM event WHERE seq = 5")


def swapped(connection: sqlite3.Connection) -> None:
    connection.executescript(
        "UPDATE event SET seq = -5 WHERE seq = 5; UPDATE event SET seq = 5 WHERE seq = 6;"
        "UPDATE event SET seq = 6 WHERE seq = -5;"
    )


def emptied_fields(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE event SET body = x'', hash = 7 WHERE seq = 5")


@pytest.mark.parametrize("change", [changed_body, changed_hash, changed_time, deleted, swapped, emptied_fields])
def test_a_change_behind_the_triggers_is_found_at_its_event(
    tmp_path: Path, change: Callable[[sqlite3.Connection], None]
) -> None:
    a_journal(tmp_path)
    with tampering(tmp_path) as connection:
        change(connection)
    assert damaged_at(tmp_path) == 5


def test_an_event_with_a_new_hash_of_its_own_still_breaks_the_chain_after_it(tmp_path: Path) -> None:
    from serviceopt_journal.chain import link

    a_journal(tmp_path)
    with tampering(tmp_path) as connection:
        changed_body(connection)
        (previous,) = connection.execute("SELECT hash FROM event WHERE seq = 4").fetchone()
        (body,) = connection.execute("SELECT CAST(body AS BLOB) FROM event WHERE seq = 5").fetchone()
        connection.execute("UPDATE event SET hash = ? WHERE seq = 5", (link(previous, body),))
    assert damaged_at(tmp_path) == 6


def test_a_whole_chain_that_was_made_anew_contradicts_the_anchor(tmp_path: Path) -> None:
    a_journal(tmp_path / "one", a_run(1))
    a_journal(tmp_path / "other", a_run(2))
    shutil.copy(tmp_path / "other" / "journal.db", tmp_path / "one" / "journal.db")
    damaged_at(tmp_path / "one")
    assert any("another hash" in problem for problem in verify(tmp_path / "one").problems)


@pytest.mark.parametrize("count", [1, 2, 10])
def test_events_lost_from_the_end_are_missed(tmp_path: Path, count: int) -> None:
    a_journal(tmp_path)
    head = verify(tmp_path).head_seq
    with tampering(tmp_path) as connection:
        connection.execute("DELETE FROM event WHERE seq > ?", (head - count,))
    assert damaged_at(tmp_path) == head - count + 1


def test_every_event_lost_is_missed(tmp_path: Path) -> None:
    a_journal(tmp_path)
    with tampering(tmp_path) as connection:
        connection.execute("DELETE FROM event")
    assert damaged_at(tmp_path) == 1


def test_every_kind_of_problem_is_listed(tmp_path: Path) -> None:
    a_journal(tmp_path)
    with tampering(tmp_path) as connection:
        connection.execute("DELETE FROM event WHERE seq = 9")
        changed_body(connection)
        connection.execute("UPDATE event SET body = '[]' WHERE seq = 20")
    with closing(sqlite3.connect(tmp_path / "journal.db")) as connection:
        connection.execute("DROP TRIGGER no_delete")
    (tmp_path / "journal.anchor").unlink()
    report = verify(tmp_path)
    assert report.first_bad_seq == 5
    listed = "\n".join(report.problems)
    for expected in (
        "hash of event 5",
        "event 9 is missing",
        "event 10",
        "'no_delete' is missing",
        "anchor is missing",
    ):
        assert expected in listed
    assert "not a record" in listed


def test_a_missing_or_changed_guard_is_damage(tmp_path: Path) -> None:
    a_journal(tmp_path)
    with closing(sqlite3.connect(tmp_path / "journal.db")) as connection:
        connection.execute("DROP TRIGGER no_update")
        connection.execute("CREATE TRIGGER no_update BEFORE UPDATE ON event BEGIN SELECT 1; END")
    assert "no_update" in str(refused(tmp_path))


@pytest.mark.parametrize("name", ["journal.anchor", "journal.db"])
def test_a_deleted_file_is_damage(tmp_path: Path, name: str) -> None:
    a_journal(tmp_path)
    (tmp_path / name).unlink()
    refused(tmp_path)


def test_an_emptied_database_is_damage(tmp_path: Path) -> None:
    a_journal(tmp_path)
    (tmp_path / "journal.db").write_bytes(b"")
    refused(tmp_path)


def test_an_anchor_with_two_bad_slots_is_damage_and_with_one_is_not(tmp_path: Path) -> None:
    a_journal(tmp_path)
    path = tmp_path / "journal.anchor"
    sound = path.read_bytes()
    for position in (3, 4096 + 3):
        path.write_bytes(flipped(sound, position, 2))
        assert verify(tmp_path).problems == []
    path.write_bytes(flipped(flipped(sound, 3, 2), 4096 + 3, 2))
    assert "both slots" in str(refused(tmp_path))
    path.write_bytes(sound[:-8000])
    Journal.open(tmp_path).close()


def test_an_older_anchor_is_damage_when_more_than_one_commit_is_missing(tmp_path: Path) -> None:
    events = a_run(1)
    with Journal.open(tmp_path) as journal:
        anchors = []
        for start in range(0, 12, 3):
            journal.append(*events[start : start + 3])
            anchors.append((tmp_path / "journal.anchor").read_bytes())
    (tmp_path / "journal.anchor").write_bytes(anchors[-2])
    assert verify(tmp_path).anchor_behind
    (tmp_path / "journal.anchor").write_bytes(anchors[-3])
    assert "more than one commit behind" in str(refused(tmp_path))


def test_a_newer_anchor_is_damage(tmp_path: Path) -> None:
    a_journal(tmp_path / "a", a_run(1)[:5])
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    with Journal.open(tmp_path / "b") as journal:
        journal.append(RunStarted(run=1))
    shutil.copy(tmp_path / "b" / "journal.anchor", tmp_path / "a" / "journal.anchor")
    assert damaged_at(tmp_path / "a") == 6


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.5, 0.9, 0.999])
def test_a_database_that_was_cut_off_is_damage(tmp_path: Path, share: float) -> None:
    a_journal(tmp_path)
    path = tmp_path / "journal.db"
    stored = path.read_bytes()
    path.write_bytes(stored[: int(len(stored) * share)])
    refused(tmp_path)


def test_a_flipped_bit_anywhere_in_an_event_or_its_hash_is_found(tmp_path: Path) -> None:
    a_journal(tmp_path, a_run(1)[:4])
    path = tmp_path / "journal.db"
    stored = path.read_bytes()
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as connection:
        parts = [part for row in connection.execute("SELECT CAST(body AS BLOB), hash FROM event") for part in row]
    for part in parts:
        start = stored.index(part)
        for offset, bit in sampled(len(part), 40):
            path.write_bytes(flipped(stored, start + offset, bit))
            assert not verify(tmp_path).sound
    path.write_bytes(stored)
    assert verify(tmp_path).sound


def test_a_flipped_bit_anywhere_in_the_database_is_found_or_changes_nothing_that_is_read(tmp_path: Path) -> None:
    a_journal(tmp_path, a_run(1))
    path = tmp_path / "journal.db"
    stored = path.read_bytes()
    sound: list[Recorded] = []
    Journal.open(tmp_path, on_event=sound.append).close()
    assert path.read_bytes() == stored
    header_and_sample = [(byte, bit) for byte in range(100) for bit in (0, 7)] + sampled(len(stored), 400)
    found = 0
    for position, bit in header_and_sample:
        path.write_bytes(flipped(stored, position, bit))
        before = contents(tmp_path)
        read: list[Recorded] = []
        try:
            Journal.open(tmp_path, on_event=read.append).close()
        except JournalError:
            found += 1
            assert contents(tmp_path) == before
        else:
            assert read == sound
    assert found > 100


def test_a_damaged_text_of_the_schema_is_damage_and_no_internal_error(tmp_path: Path) -> None:
    a_journal(tmp_path, a_run(1))
    path = tmp_path / "journal.db"
    stored = path.read_bytes()
    start = stored.index(b"CREATE TRIGGER no_update")
    for position in range(start, start + len("CREATE TRIGGER no_update BEFORE UPDATE ON event")):
        path.write_bytes(flipped(stored, position, 7))  # no UTF-8 any more, and SQLite's own message repeats it
        refused(tmp_path)
        assert not verify(tmp_path).sound
        with suppress(JournalDamaged):
            JournalReader.open(tmp_path).head()


def test_a_damaged_write_ahead_log_is_found_or_only_the_unacknowledged_commit_is_gone(tmp_path: Path) -> None:
    acknowledged = a_killed_journal(tmp_path / "killed", commits=25)[-1]
    assert (tmp_path / "killed" / "journal.db-wal").stat().st_size > 0
    log = (tmp_path / "killed" / "journal.db-wal").read_bytes()
    changes = [flipped(log, position, bit) for position, bit in sampled(len(log), 60)]
    changes += [log[: position - position % 7] for position, _ in sampled(len(log), 30)]
    found = 0
    for number, change in enumerate(changes):
        directory = tmp_path / str(number)
        shutil.copytree(tmp_path / "killed", directory)
        (directory / "journal.db-wal").write_bytes(change)
        before = contents(directory)
        try:
            with Journal.open(directory) as journal:
                assert journal.head.seq >= acknowledged
        except JournalDamaged:
            found += 1
            assert contents(directory) == before
    assert found > 30


def test_a_killed_writers_journal_is_verified_in_place_without_changing_a_byte(tmp_path: Path) -> None:
    acknowledged = a_killed_journal(tmp_path, commits=10)[-1]
    (tmp_path / "journal.db-shm").unlink()
    before = contents(tmp_path)
    assert verify(tmp_path).head_seq >= acknowledged
    assert contents(tmp_path) == before
    (tmp_path / "journal.anchor").unlink()
    refused(tmp_path)


def from_the_future(connection: sqlite3.Connection, old: str, new: str) -> None:
    """A newer release appended: the chain is sound, and so is the anchor of the copy it wrote."""
    from serviceopt_journal.anchor import Anchor
    from serviceopt_journal.chain import Head, link

    seq, body, hash_ = connection.execute(
        "SELECT seq, CAST(body AS BLOB), hash FROM event ORDER BY seq DESC LIMIT 1"
    ).fetchone()
    assert old in body.decode()
    later = body.decode().replace(f'"seq":{seq},"commit":{seq}', f'"seq":{seq + 1},"commit":{seq + 1}')
    later = later.replace(old, new)
    head = Head(seq + 1, link(hash_, later.encode()))
    connection.execute("INSERT INTO event VALUES (?, ?, ?)", (head.seq, later, head.hash))
    (_, _, file) = connection.execute("PRAGMA database_list").fetchone()
    Anchor.create(Path(file).parent, head).close()


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [('"type":"run_started"', '"type":"run_forked"', "'run_forked'"), ('"v":1', '"v":3', "version 3")],
)
def test_a_journal_of_a_newer_release_is_refused_and_left_alone(tmp_path: Path, old: str, new: str, named: str) -> None:
    a_journal(tmp_path, *[[RunStarted(run=number)] for number in range(1, 4)])
    with closing(sqlite3.connect(tmp_path / "journal.db", isolation_level=None)) as connection:
        from_the_future(connection, old, new)
    error = refused(tmp_path, JournalFromTheFuture)
    assert error.exit_code == 8
    assert named in error.message
    assert "event 4" in error.message
    report = verify(tmp_path)
    assert report.problems == []
    assert not report.sound
    assert report.head_seq == 4
    assert [recorded.seq for recorded in JournalReader.open(tmp_path).events(until=3)] == [1, 2, 3]
    with pytest.raises(JournalFromTheFuture):
        list(JournalReader.open(tmp_path).events())


def test_a_layout_of_a_newer_release_is_refused_and_left_alone(tmp_path: Path) -> None:
    a_journal(tmp_path)
    with closing(sqlite3.connect(tmp_path / "journal.db")) as connection:
        connection.execute("PRAGMA user_version = 99")
    assert "layout 99" in str(refused(tmp_path, JournalFromTheFuture))
    with pytest.raises(JournalFromTheFuture):
        JournalReader.open(tmp_path)


def test_a_refused_opening_leaves_no_lock_file_where_there_was_none(tmp_path: Path) -> None:
    a_journal(tmp_path)
    (tmp_path / "journal.anchor").unlink()
    (tmp_path / "journal.lock").unlink()
    refused(tmp_path)


def test_the_good_part_of_a_damaged_journal_can_be_read(tmp_path: Path) -> None:
    a_journal(tmp_path)
    good = list(JournalReader.open(tmp_path).events(until=9))
    with tampering(tmp_path) as connection:
        connection.execute("UPDATE event SET body = 'no json' WHERE seq >= 10")
    assert damaged_at(tmp_path) == 10
    reader = JournalReader.open(tmp_path)
    assert list(reader.events(until=9)) == good
    assert list(reader.events(until=9, run=1, types={"run_started"})) == [one for one in good if one.seq == 2]
    with pytest.raises(JournalDamaged, match="event 10"):
        list(reader.events())
