from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journal_builders import flipped
from serviceopt_journal.artefacts import ArtefactStore
from serviceopt_journal.errors import EnvironmentLacks, JournalDamaged, NotFound


def test_what_is_kept_lies_under_its_hash(tmp_path: Path) -> None:
    store = ArtefactStore(tmp_path)
    digest = store.keep(b"output_throughput 5123")
    assert digest == sha256(b"output_throughput 5123").hexdigest()
    path = tmp_path / "artefacts" / digest[:2] / digest
    assert path.read_bytes() == b"output_throughput 5123"
    assert path.stat().st_mode & 0o777 == 0o640
    with store.open(digest) as stream:
        assert stream.read() == b"output_throughput 5123"


def test_a_file_and_its_bytes_are_the_same_artefact_and_kept_once(tmp_path: Path) -> None:
    source = tmp_path / "result.json"
    source.write_bytes(b"{}" * 1000)
    store = ArtefactStore(tmp_path)
    assert store.keep(source) == store.keep(b"{}" * 1000)
    assert source.exists()
    assert len([path for path in (tmp_path / "artefacts").rglob("*") if path.is_file()]) == 1


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=300), st.integers(2, 60))
def test_large_files_keep_head_and_tail_and_say_so(content: bytes, limit: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        store = ArtefactStore(Path(place), limit_bytes=limit)
        with store.open(store.keep(content)) as stream:
            kept = stream.read()
    if len(content) <= limit:
        assert kept == content
        return
    half = limit // 2
    notice = f"\n[serviceopt: {len(content) - 2 * half} of {len(content)} bytes were left out here]\n".encode()
    assert kept == content[:half] + notice + content[-half:]


def test_a_changed_artefact_is_damage(tmp_path: Path) -> None:
    store = ArtefactStore(tmp_path)
    digest = store.keep(b"ten bytes.")
    path = store.path(digest)
    path.write_bytes(flipped(path.read_bytes(), 4, 1))
    with pytest.raises(JournalDamaged):
        store.open(digest)


@pytest.mark.parametrize("digest", ["0" * 64, "../../../etc/passwd", "", "ABC"])
def test_an_unknown_hash_is_not_found(tmp_path: Path, digest: str) -> None:
    with pytest.raises(NotFound):
        ArtefactStore(tmp_path).open(digest)


def test_a_source_that_is_not_there_is_not_found_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="absent"):
        ArtefactStore(tmp_path).keep(tmp_path / "absent")
    with pytest.raises(EnvironmentLacks):
        ArtefactStore(tmp_path).keep(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
