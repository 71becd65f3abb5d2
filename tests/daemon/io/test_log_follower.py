from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostile_files import HOSTILE
from journal.test_foreign_files import bounded
from serviceopt_journal.foreign_files import MIB
from serviceoptd.domain.settings import LogPatterns
from serviceoptd.io.log_follower import LogFollower, Match, scan

PATTERNS = LogPatterns(
    fatal={"out_of_memory": ("out of memory", ""), "device_error": ("ERR99999",)},
    retryable={"network_error": ("Connection reset", "memory")},
)


def test_a_log_that_is_not_there_yet_has_no_lines(tmp_path: Path) -> None:
    follower = LogFollower(tmp_path / "log")
    assert follower.lines() == []
    assert follower.tail(10) == ""
    follower.path.write_text("one\ntw")
    assert follower.lines() == ["one"]
    assert follower.lines() == []
    with follower.path.open("a") as log:
        log.write("o\n\nthree")
    assert follower.lines() == ["two"]
    assert follower.lines(ended=True) == ["three"]
    assert follower.lines(ended=True) == []


def test_a_log_that_is_truncated_or_replaced_is_read_from_its_new_start(tmp_path: Path) -> None:
    follower = LogFollower(tmp_path / "log")
    follower.path.write_text("a first line\nunfini")
    assert follower.lines() == ["a first line"]
    follower.path.write_text("new\n")
    assert follower.lines() == ["new"]
    (tmp_path / "rotated").write_text("another file, longer than before\n")
    (tmp_path / "rotated").replace(follower.path)
    assert follower.lines() == ["another file, longer than before"]


def test_a_progress_bar_comes_as_lines_and_a_huge_line_in_pieces(tmp_path: Path) -> None:
    follower = LogFollower(tmp_path / "log", longest_line=4)
    follower.path.write_bytes(b"10%\r20%\r\nabcdefghij")
    assert follower.lines() == ["10%", "20%", "abcd", "efgh"]
    assert follower.lines(ended=True) == ["ij"]


def test_bytes_that_are_no_text_do_not_stop_the_reading(tmp_path: Path) -> None:
    follower = LogFollower(tmp_path / "log")
    follower.path.write_bytes(b"caf\xe9 \xff\nnext\n")
    assert follower.lines() == ["caf\ufffd \ufffd", "next"]
    assert follower.tail(6) == "\ufffd\nnext"


@given(pieces=st.lists(st.text("ab\n\ré", max_size=12), max_size=12), longest=st.integers(1, 9))
def test_however_a_log_is_written_its_lines_are_the_same(pieces: list[str], longest: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        in_pieces = LogFollower(Path(directory) / "pieces", longest_line=longest)
        at_once = LogFollower(Path(directory) / "at-once", longest_line=longest)
        found = []
        with in_pieces.path.open("ab", buffering=0) as log:
            for piece in pieces:
                log.write(piece.encode())
                found += in_pieces.lines()
        at_once.path.write_bytes("".join(pieces).encode())
        assert found + in_pieces.lines(ended=True) == at_once.lines(ended=True)


@given(text=st.text("ab é\n", max_size=40), characters=st.integers(0, 50))
def test_the_tail_is_the_end_of_the_text(text: str, characters: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        follower = LogFollower(Path(directory) / "log")
        follower.path.write_bytes(text.encode())
        tail = follower.tail(characters)
        assert len(tail) <= characters
        assert text.strip().endswith(tail)
        assert characters == 0 or bool(tail) == bool(text.strip()) or len(text.rstrip()) < len(text)


def test_a_fatal_pattern_counts_before_a_retryable_one() -> None:
    line = "E torch.OutOfMemoryError: CUDA out of memory"
    assert scan(line, PATTERNS) == Match("fatal", "out_of_memory", "out of memory", line)
    assert scan("host memory is low", PATTERNS) == Match("retryable", "network_error", "memory", "host memory is low")
    assert scan("all is well", PATTERNS) is None
    assert scan("", PATTERNS) is None


@given(before=st.text("x", max_size=300), after=st.text("y", max_size=300), length=st.integers(13, 250))
def test_a_reason_names_the_kind_and_shows_the_line_around_the_pattern(before: str, after: str, length: int) -> None:
    match = scan(f"{before}out of memory{after}", PATTERNS)
    assert match is not None
    kind, _, snippet = match.reason(length).partition(": ")
    assert kind == "out_of_memory"
    assert "out of memory" in snippet
    assert len(snippet) <= length
    assert snippet in match.line
    assert len(snippet) == min(length, len(match.line))


@pytest.mark.parametrize(
    "code",
    [
        0x85,
        0x90,
        0x9B,
        0x9D,
        0xAD,
        0x61C,
        0x200B,
        0x200E,
        0x200F,
        0x2028,
        0x202A,
        0x202E,
        0x2060,
        0x2066,
        0x2069,
        0x3164,
        0xFEFF,
        0xE0041,
    ],
)
def test_what_a_terminal_obeys_or_reads_backwards_is_left_out_of_a_log(tmp_path: Path, code: int) -> None:
    log = tmp_path / "service.log"
    log.write_text(f"error: {chr(code)}daol ton dluoc ledom\n", encoding="utf-8")
    (line,) = LogFollower(log).lines()
    assert chr(code) not in line
    assert line.startswith("error: ")


def test_a_colour_of_eight_bits_is_left_out_and_letters_of_other_scripts_stay(tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    log.write_text("\x9b1;31mfehler\x9b0m: \u05e9\u05d2\u05d9\u05d0\u05d4 \u8c03\u4f18 \u00fc\n", encoding="utf-8")
    assert LogFollower(log).lines() == ["fehler: \u05e9\u05d2\u05d9\u05d0\u05d4 \u8c03\u4f18 \u00fc"]


@pytest.mark.parametrize("what", HOSTILE)
def test_a_log_that_is_no_file_or_has_no_end_is_followed_within_bounds(tmp_path: Path, what: str) -> None:
    path = tmp_path / "service.log"
    HOSTILE[what](path)
    follower = LogFollower(path)
    with bounded(48 * MIB):
        found = [*follower.lines(), *follower.lines(ended=True)]
        said, last = follower.written_since(0), follower.tail(200)
    regular = what in ("a sparse file of 20 GiB", "an endless line")
    assert bool(found) == regular
    assert any("bytes of this log were not looked through" in line for line in found) == regular
    assert sum(map(len, said)) <= 4 * MIB
    assert len(last) <= 200


def test_what_was_written_before_and_after_a_flood_is_read(tmp_path: Path) -> None:
    path = tmp_path / "service.log"
    path.write_text("starting\n")
    follower = LogFollower(path)
    assert follower.lines() == ["starting"]
    with path.open("a") as log:
        log.writelines("the same again\n" for _ in range(1_000_000))
        log.write("out of memory\n")
    notice, *rest = [line for line in follower.lines(ended=True) if line != "the same again"]
    assert notice == f"[serviceopt: {path.stat().st_size - MIB - 9} bytes of this log were not looked through]"
    assert rest[-1] == "out of memory"
    with path.open("a") as log:
        log.write("ended\n")
    assert follower.lines() == ["ended"]


def test_a_log_that_is_written_for_ever_does_not_hold_its_reader(tmp_path: Path) -> None:
    path, enough = tmp_path / "service.log", threading.Event()

    def flood() -> None:
        with path.open("wb", buffering=0) as log:
            while not enough.is_set() and log.tell() < 1024 * MIB:
                log.write((b"again and again " * 16 + b"\n") * 4096)

    writer = threading.Thread(target=flood)
    writer.start()
    try:
        with bounded(128 * MIB, seconds=60.0):
            LogFollower(path).lines(ended=True)
    finally:
        enough.set()
        writer.join()
