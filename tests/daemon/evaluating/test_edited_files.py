"""A file of the user's is his own again, byte for byte, wherever the power goes."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from run_stories import Story
from serviceopt_journal import events as e
from serviceopt_journal.artefacts import ArtefactStore
from serviceopt_journal.errors import EnvironmentLacks
from serviceopt_journal.events import EditedFile
from serviceoptd.evaluating.edited_files import contents_before, edit, edited_now, originals, refuse_unrestored, restore

ORIGINAL, NEW = b'{"a": 1}\r\n', b'{"a": 2}\r\n'
CALLS = (
    "open",
    "fdopen",
    "fchmod",
    "fchown",
    "listxattr",
    "fsync",
    "close",
    "replace",
    "rename",
    "unlink",
    "fstat",
    "stat",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "conf" / "config.json"
    found.parent.mkdir()
    found.write_bytes(ORIGINAL)
    found.chmod(0o640)
    return found


@pytest.fixture
def artefacts(tmp_path: Path) -> ArtefactStore:
    (tmp_path / "state").mkdir()
    return ArtefactStore(tmp_path / "state")


def state_of(path: Path) -> tuple[bytes, int, int, int, list[str]]:
    """Content, mode, owner and group, and what else lies beside it."""
    status = path.stat()
    return (
        path.read_bytes(), stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid,
        sorted(entry.name for entry in path.parent.iterdir()),
    )  # fmt: skip


@given(before=st.binary(max_size=200), after=st.binary(max_size=200))
def test_what_is_edited_and_restored_is_what_it_was(tmp_path_factory: Any, before: bytes, after: bytes) -> None:
    place = tmp_path_factory.mktemp("edited")
    path, store = place / "config.json", ArtefactStore(place)
    path.write_bytes(before)
    edited = originals({path: after}, store)
    edit({path: after})
    assert path.read_bytes() == after
    for _ in range(2):  # twice changes nothing
        restore(edited, store)
        assert path.read_bytes() == before


def test_mode_and_owner_stay_at_every_step(path: Path, artefacts: ArtefactStore) -> None:
    if os.geteuid() == 0:
        os.chown(path, 12345, 54321)
    path.chmod(0o604)
    before = state_of(path)
    edited = originals({path: NEW}, artefacts)
    edit({path: NEW})
    assert state_of(path) == (NEW, *before[1:])
    restore(edited, artefacts)
    assert state_of(path) == before


def test_extended_attributes_stay(path: Path, artefacts: ArtefactStore) -> None:
    try:
        os.setxattr(path, "user.note", b"mine")
    except OSError:
        pytest.skip("this file system has none")
    edited = originals({path: NEW}, artefacts)
    edit({path: NEW})
    assert os.getxattr(path, "user.note") == b"mine"
    restore(edited, artefacts)
    assert os.getxattr(path, "user.note") == b"mine"


def test_a_link_is_followed_and_stays_a_link(path: Path, artefacts: ArtefactStore, tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to("conf/config.json")
    edited = originals({link: NEW}, artefacts)
    edit({link: NEW})
    assert (link.is_symlink(), path.read_bytes()) == (True, NEW)
    restore(edited, artefacts)
    assert (link.is_symlink(), path.read_bytes()) == (True, ORIGINAL)
    assert [entry.name for entry in tmp_path.iterdir() if "serviceopt" in entry.name] == []


def test_what_somebody_else_wrote_meanwhile_is_left_to_him(path: Path, artefacts: ArtefactStore) -> None:
    edited = originals({path: NEW}, artefacts)
    edit({path: NEW})
    path.write_bytes(b"his")
    restore(edited, artefacts)
    assert path.read_bytes() == b"his"


def test_what_was_never_edited_is_left_alone(path: Path, artefacts: ArtefactStore) -> None:
    edited = originals({path: NEW}, artefacts)
    before = path.stat()
    restore(edited, artefacts)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_what_was_removed_meanwhile_is_put_back_for_nobody_else_to_read(path: Path, artefacts: ArtefactStore) -> None:
    edited = originals({path: NEW}, artefacts)
    edit({path: NEW})
    path.unlink()
    restore(edited, artefacts)
    assert state_of(path)[:2] == (ORIGINAL, 0o640)


def test_an_edit_that_changes_nothing_is_restored_as_nothing(path: Path, artefacts: ArtefactStore) -> None:
    edited = originals({path: ORIGINAL}, artefacts)
    edit({path: ORIGINAL})
    restore(edited, artefacts)
    assert path.read_bytes() == ORIGINAL


def test_somebodys_link_in_place_of_our_temporary_file_is_not_followed(path: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (path.parent / ".config.json.serviceopt").symlink_to(victim)
    edit({path: NEW})
    assert (victim.read_bytes(), path.read_bytes(), path.is_symlink()) == (b"precious", NEW, False)


def test_a_file_that_cannot_be_kept_whole_is_not_edited(path: Path, tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    path.write_bytes(b"x" * 1000)
    with pytest.raises(EnvironmentLacks, match="too large"):
        originals({path: NEW}, ArtefactStore(tmp_path / "small", limit_bytes=100))


def test_a_file_that_is_not_there_is_told_before_anything_is_announced(
    tmp_path: Path, artefacts: ArtefactStore
) -> None:
    with pytest.raises(EnvironmentLacks, match="cannot be read"):
        originals({tmp_path / "gone": NEW}, artefacts)


def test_every_file_is_tried_before_the_first_that_fails_is_told(
    path: Path, artefacts: ArtefactStore, tmp_path: Path
) -> None:
    gone = tmp_path / "elsewhere" / "config.json"
    gone.parent.mkdir()
    gone.write_bytes(ORIGINAL)
    edits = {gone: NEW, path: NEW}
    edited = originals(edits, artefacts)
    edit(edits)
    gone.unlink()
    gone.parent.rmdir()
    with pytest.raises(EnvironmentLacks, match="elsewhere"):
        restore(edited, artefacts)
    assert path.read_bytes() == ORIGINAL


# ---------------------------------------------------------------------------- a power cut between any two steps


class PowerCut(BaseException):
    """Not an error that anybody handles: from here on nothing of the process runs."""


def cut_after(monkeypatch: pytest.MonkeyPatch, calls: int) -> Callable[[], int]:
    """Lets that many calls of the operating system through and dies at the next one; the result counts them."""
    made = 0

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            nonlocal made
            if made >= calls:
                raise PowerCut
            made += 1
            return real(*given, **named)

        return call

    for name in CALLS:
        monkeypatch.setattr(os, name, counted(getattr(os, name)))
    return lambda: made


def life(edits: dict[Path, bytes], artefacts: ArtefactStore, journal: list[tuple[EditedFile, ...]]) -> None:
    """What a launch does, and `journal` is what is committed of it."""
    journal.append(originals(edits, artefacts))
    edit(edits)
    restore(journal[-1], artefacts)


def recovery(artefacts: ArtefactStore, journal: list[tuple[EditedFile, ...]]) -> None:
    for edited in journal:
        restore(edited, artefacts)


def total_calls(path: Path, artefacts: ArtefactStore) -> int:
    with pytest.MonkeyPatch.context() as patch:
        made = cut_after(patch, 10**6)
        life({path: NEW}, artefacts, [])
        return made()


def test_a_cut_at_any_call_of_the_operating_system_leaves_the_original_after_recovery(
    path: Path, artefacts: ArtefactStore
) -> None:
    before = state_of(path)
    total = total_calls(path, artefacts)
    assert total > 20
    seen: set[bytes] = set()
    for calls in range(total):
        journal: list[tuple[EditedFile, ...]] = []
        with pytest.MonkeyPatch.context() as patch:
            cut_after(patch, calls)
            with pytest.raises(PowerCut):
                life({path: NEW}, artefacts, journal)
        assert path.read_bytes() in (ORIGINAL, NEW)  # all of it or nothing, at every moment
        seen.add(path.read_bytes())
        recovery(artefacts, journal)
        content, mode, owner, group, beside = state_of(path)
        assert (content, mode, owner, group) == before[:4], f"cut after {calls} calls"
        # what a cut left beside it is gone after recovery, or before the announcement there is nothing
        assert beside == before[4], f"cut after {calls} calls"
    assert seen == {ORIGINAL, NEW}


def test_a_cut_during_recovery_is_recovered_from_too(path: Path, artefacts: ArtefactStore) -> None:
    before = state_of(path)
    edited = originals({path: NEW}, artefacts)
    edit({path: NEW})
    with pytest.MonkeyPatch.context() as patch:
        made = cut_after(patch, 10**6)
        restore(edited, artefacts)
        total = made()
    for calls in range(total):
        edit({path: NEW})
        with pytest.MonkeyPatch.context() as patch:
            cut_after(patch, calls)
            with pytest.raises(PowerCut):
                restore(edited, artefacts)
        restore(edited, artefacts)
        assert state_of(path) == before, f"cut after {calls} calls"


def test_a_call_that_fails_leaves_the_file_whole_and_recovery_leaves_it_as_it_was(
    path: Path, artefacts: ArtefactStore
) -> None:
    before = state_of(path)
    edited = originals({path: NEW}, artefacts)
    with pytest.MonkeyPatch.context() as patch:
        made = cut_after(patch, 10**6)
        edit({path: NEW})
        total = made()
    restore(edited, artefacts)
    refused = 0
    for number in range(total):
        with pytest.MonkeyPatch.context() as patch:
            failing(patch, number, OSError(28, "No space left on device"))
            try:
                edit({path: NEW})
            except EnvironmentLacks:
                refused += 1
        assert path.read_bytes() in (ORIGINAL, NEW)
        restore(edited, artefacts)
        assert state_of(path) == before, f"call {number} failed"
    assert refused > 5


def failing(monkeypatch: pytest.MonkeyPatch, number: int, error: OSError) -> None:
    """The call with this number fails; those before and after it work."""
    made = 0

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            nonlocal made
            made += 1
            if made - 1 == number:
                raise error
            return real(*given, **named)

        return call

    for name in CALLS:
        monkeypatch.setattr(os, name, counted(getattr(os, name)))


# ------------------------------------------------------------------------------------- what is edited at present


def launched(story: Story, edited: tuple[EditedFile, ...]) -> None:
    story.tell(
        e.ParticleProposed(run=1, particle=1, slot=0, iteration=0, position=(0.5, 0.5, 0.5), velocity=(0.0,) * 3,
                           configuration={"MAX_NUM_SEQS": 64, "MAX_NUM_BATCHED_TOKENS": 8192, "CONCURRENCY": 10},
                           strategy="swarm", origin="initial"),
        e.ServiceLaunching(run=1, particle=1, evaluation=1, attempt=1, launch_id="x", edited_files=edited),
    )  # fmt: skip


def test_until_the_end_of_a_launch_its_files_count_as_edited(path: Path, artefacts: ArtefactStore) -> None:
    story, edited = Story(), originals({path: NEW}, artefacts)
    assert edited_now(story.state) == ()
    launched(story, edited)
    assert edited_now(story.state) == edited
    with pytest.raises(EnvironmentLacks, match="still holds what an earlier launch wrote into it"):
        refuse_unrestored({path: b"other"}, story.state)
    refuse_unrestored({path.with_name("another.json"): b"other"}, story.state)
    story.tell(e.ServiceStopped(run=1, evaluation=1, attempt=1))
    assert edited_now(story.state) == ()
    refuse_unrestored({path: b"other"}, story.state)


def test_the_content_before_is_told_only_while_the_file_is_edited(path: Path, artefacts: ArtefactStore) -> None:
    edited = originals({path: NEW}, artefacts)
    assert contents_before(edited, artefacts) == {}
    edit({path: NEW})
    assert contents_before(edited, artefacts) == {path: ORIGINAL}
    path.write_bytes(b"his")
    assert contents_before(edited, artefacts) == {}
    path.unlink()
    assert contents_before(edited, artefacts) == {}
