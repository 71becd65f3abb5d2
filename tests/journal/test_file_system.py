from __future__ import annotations

import os
from pathlib import Path

import pytest

from journal_builders import a_journal
from serviceopt_journal.errors import EnvironmentLacks, ExitCode
from serviceopt_journal.file_system import refuse_network_file_system
from serviceopt_journal.foreign_files import UnfitFile
from serviceopt_journal.reader import JournalReader
from serviceopt_journal.store import Journal
from serviceopt_journal.verification import verify

MOUNTS = r"""21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 21 0:30 / /srv rw - nfs4 server:/export rw,vers=4.2
31 30 254:1 / /srv/local rw - xfs /dev/vdb rw
32 21 0:31 / /mnt/with\040blank rw - cifs //server/share rw
33 21 0:32 / /home/me/remote rw - fuse.sshfs me@host: rw
34 21 0:33 / /merged rw - fuse.fuse-overlayfs overlay rw
35 21 0:34 / /stacked rw - 9p host rw
36 35 0:35 / /stacked rw - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("/srv", "nfs4"),
        ("/srv/serviceopt/state", "nfs4"),
        ("/mnt/with blank/state", "cifs"),
        ("/home/me/remote/state", "fuse.sshfs"),
    ],
)
def test_network_file_systems_are_refused_by_name(place: str, kind: str) -> None:
    with pytest.raises(EnvironmentLacks, match=kind) as caught:
        refuse_network_file_system(Path(place), mountinfo=MOUNTS)
    assert "SERVICEOPT_STATE_DIR" in caught.value.hint


@pytest.mark.parametrize("place", ["/", "/var/lib/x", "/srv/local/state", "/srvx", "/merged/a", "/stacked/a"])
def test_local_file_systems_are_accepted(place: str) -> None:
    refuse_network_file_system(Path(place), mountinfo=MOUNTS)


def test_opening_a_journal_asks_the_kernel_and_makes_nothing_where_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_text = Path.read_text

    def nfs_everywhere(path: Path, *arguments: str, **named: str) -> str:
        text = read_text(path, *arguments, **named)
        return text.replace(" - ", " - nfs4 ") if str(path) == "/proc/self/mountinfo" else text

    monkeypatch.setattr(Path, "read_text", nfs_everywhere)
    with pytest.raises(EnvironmentLacks, match="nfs4"):
        Journal.open(tmp_path / "state")
    assert list(tmp_path.iterdir()) == []


NAMES = ("journal.db", "journal.db-wal", "journal.db-shm", "journal.lock", "journal.anchor", "journal.anchor.new")


@pytest.mark.parametrize("name", NAMES)
def test_a_pipe_in_the_place_of_a_journals_file_is_told_and_not_waited_for(tmp_path: Path, name: str) -> None:
    a_journal(tmp_path)
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    for use in (Journal.open, JournalReader.open, verify):
        with pytest.raises(UnfitFile, match=f"{name} is a pipe") as told:
            use(tmp_path)
        assert (told.value.exit_code, bool(told.value.hint)) == (ExitCode.ENVIRONMENT, True)


@pytest.mark.parametrize("name", ["journal.lock", "journal.anchor", "journal.anchor.new"])
@pytest.mark.parametrize("new", [True, False])
def test_nothing_is_written_through_a_link_in_the_place_of_lock_or_anchor(tmp_path: Path, name: str, new: bool) -> None:
    precious, state = tmp_path / "precious", tmp_path / "state"
    precious.write_text("of somebody else\n")
    state.mkdir()
    if not new:
        a_journal(state)
    (state / name).unlink(missing_ok=True)
    (state / name).symlink_to(precious)
    with pytest.raises(UnfitFile, match=f"{name} is a link"):
        Journal.open(state)
    assert precious.read_text() == "of somebody else\n"


def test_a_database_that_its_owner_has_linked_to_another_disk_is_used(tmp_path: Path) -> None:
    state, elsewhere = tmp_path / "state", tmp_path / "elsewhere"
    elsewhere.mkdir()
    a_journal(state)
    (state / "journal.db").rename(elsewhere / "journal.db")
    (state / "journal.db").symlink_to(elsewhere / "journal.db")
    with Journal.open(state) as journal:
        assert journal.head.seq > 1
    assert verify(state).sound
