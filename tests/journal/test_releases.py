from __future__ import annotations

import shutil
import sqlite3
import tomllib
from contextlib import closing
from pathlib import Path

import pytest

from serviceopt_journal.codec import Recorded
from serviceopt_journal.events import EVENT_TYPES, RunStarted
from serviceopt_journal.reader import JournalReader
from serviceopt_journal.store import Journal
from serviceopt_journal.verification import verify

RELEASES = sorted(path for path in (Path(__file__).parent / "releases").iterdir() if (path / "journal.db").exists())


def stored(directory: Path) -> list[tuple[int, bytes, bytes]]:
    with closing(sqlite3.connect(f"file:{directory}/journal.db?mode=ro", uri=True)) as connection:
        rows = connection.execute("SELECT seq, CAST(body AS BLOB), hash FROM event ORDER BY seq")
        return rows.fetchall()


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_the_journal_of_every_release_is_read_continued_and_never_rewritten(release: Path, tmp_path: Path) -> None:
    directory = shutil.copytree(release, tmp_path / "state")
    before = stored(directory)
    assert before
    assert verify(directory).sound
    read: list[Recorded] = []
    with Journal.open(directory, on_event=read.append) as journal:
        journal.append(RunStarted(run=1))
    assert [recorded.seq for recorded in read] == [seq for seq, _, _ in before]
    assert stored(directory)[:-1] == before
    assert list(JournalReader.open(directory).events(until=len(read))) == read
    assert verify(directory).sound


def test_the_present_release_has_its_journal_with_an_event_of_every_type() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    release = Path(__file__).parent / "releases" / project["project"]["version"]
    read = JournalReader.open(release).events()
    assert {type(recorded.event) for recorded in read} == set(EVENT_TYPES)
