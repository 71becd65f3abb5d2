"""Files that other programs make are read without waiting, without following, and within the memory that was allowed."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hostile_files import HOSTILE
from serviceopt_journal import foreign_files
from serviceopt_journal.artefacts import ArtefactStore
from serviceopt_journal.errors import NotFound
from serviceopt_journal.foreign_files import MIB, UnfitFile

READERS: dict[str, Callable[[Path], object]] = {
    "content": lambda path: foreign_files.content(path, 4 * MIB),
    "tail": lambda path: foreign_files.tail(path, 4 * MIB),
    "piece": lambda path: foreign_files.piece(path, 0, 4 * MIB),
    "lines": lambda path: sum(1 for _ in foreign_files.lines(path, 1024 * MIB)),
}
WHOLE = {"a sparse file of 20 GiB", "an endless line"}
"""Regular files: a part of them may be read."""


@contextlib.contextmanager
def bounded(memory: int, seconds: float = 20.0) -> Iterator[None]:
    """Fails where the block takes more memory or time."""
    begun = time.monotonic()
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] <= memory
        assert time.monotonic() - begun < seconds
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("what", HOSTILE)
def test_whatever_lies_there_is_refused_at_once_or_read_within_the_limit(
    tmp_path: Path, what: str, reader: str
) -> None:
    path = tmp_path / "made"
    HOSTILE[what](path)
    with bounded(16 * MIB):
        if what == "nothing":
            with pytest.raises(FileNotFoundError):
                READERS[reader](path)
        elif what in WHOLE and reader in ("tail", "piece"):
            assert len(READERS[reader](path)) == 4 * MIB  # type: ignore[arg-type]
        else:
            with pytest.raises(
                UnfitFile, match=r"made .*(is a|larger than|longer than|cannot be read)|line of .*longer"
            ):
                READERS[reader](path)


def test_a_file_that_grows_for_ever_is_given_up_at_the_limit(tmp_path: Path) -> None:
    path, enough = tmp_path / "log", threading.Event()
    path.write_bytes(b"")

    def grow() -> None:
        with path.open("ab", buffering=0) as file:
            while not enough.is_set() and file.tell() < 512 * MIB:
                file.write(b"x" * MIB)

    def read_again_and_again() -> None:
        while True:
            foreign_files.content(path, 8 * MIB)

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        with bounded(32 * MIB), pytest.raises(UnfitFile, match="larger than 8 MiB"):
            read_again_and_again()
    finally:
        enough.set()
        writer.join()


def test_a_user_may_link_a_file_of_his_own_and_no_pipe(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"text")
    (tmp_path / "link").symlink_to("target")
    assert foreign_files.content(tmp_path / "link", 10, through_links=True) == b"text"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to-pipe").symlink_to("pipe")
    with pytest.raises(UnfitFile, match="is a pipe"):
        foreign_files.content(tmp_path / "to-pipe", 10, through_links=True)


@pytest.mark.parametrize("text", [b"", b"a", b"a\n", b"a\nb", b"\n\n", b"a" * 100 + b"\n" + b"b" * 100, b"x\r\ny\n"])
def test_lines_are_those_of_the_file(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "text"
    path.write_bytes(text)
    with path.open("rb") as file:
        expected = list(file)
    assert list(foreign_files.lines(path, 1000, longest=100)) == expected
    assert foreign_files.content(path, len(text)) == text
    assert foreign_files.tail(path, 3) == text[-3:]
    assert foreign_files.piece(path, 1, 2) == text[1:3]
    if text:
        with pytest.raises(UnfitFile):
            foreign_files.content(path, len(text) - 1)


def test_what_the_kernel_makes_up_is_read_although_its_size_is_0() -> None:
    assert b"Pid:" in foreign_files.content(Path("/proc/self/status"), MIB)


@pytest.mark.parametrize("what", HOSTILE)
def test_only_a_regular_file_is_kept_and_of_a_large_one_head_and_tail(tmp_path: Path, what: str) -> None:
    path = tmp_path / "made"
    HOSTILE[what](path)
    store = ArtefactStore(tmp_path, limit_bytes=MIB)
    with bounded(16 * MIB):
        if what in WHOLE:
            with store.open(store.keep(path)) as kept:
                assert b"were left out here" in kept.read()
        else:
            with pytest.raises(NotFound if what == "nothing" else UnfitFile):
                store.keep(path)
