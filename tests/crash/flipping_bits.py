"""Every bit of a journal's files, flipped: each flip is found, or changes nothing that is read.

    python tests/crash/flipping_bits.py [--every N] [--first N] [--workers N]

Two journals: one at rest (database and anchor), one as a kill leaves it (database, write-ahead log and anchor), whose
database is flipped at one bit of each byte. Their pages are as small as SQLite allows, so that hardly a bit lies in empty
space; of a third one, with pages as they are in use, one bit of every eighth byte is flipped. `--every N` takes every N-th.

A flip that is found is refused with an exit code that says so, before anything was changed. After any other, the events are
the same, and the journal is opened, written on, closed and read again. Prints each broken promise, and last the counts as
JSON: by file, found (by the error's name), told (a warning), and unread. Ends with 1 where a promise was broken.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from crash.failing_disk import commits, in_memory
from journal_builders import StoppedClock, contents, flipped
from serviceopt_journal import database
from serviceopt_journal.anchor import FILE_NAME as ANCHOR
from serviceopt_journal.anchor import SLOT_DISTANCE, read_anchor
from serviceopt_journal.codec import Recorded
from serviceopt_journal.database import FILE_NAME
from serviceopt_journal.errors import JournalDamaged, JournalFromTheFuture
from serviceopt_journal.events import RunStarted
from serviceopt_journal.opening import verified
from serviceopt_journal.store import Journal
from serviceopt_journal.verification import Report

SMALLEST_PAGE = 512  # bytes
FILES = (FILE_NAME, f"{FILE_NAME}-wal", ANCHOR)
SLOT_BYTES = 80
HEADER_BYTES = 100  # of the database: each of them is tried
FOUND = (JournalDamaged, JournalFromTheFuture)


@dataclass(frozen=True)
class Subject:
    """A journal to be damaged: its files, the events in it, and how many flips of a byte are tried."""

    name: str
    files: dict[str, bytes]
    events: tuple[Recorded, ...]
    bits: dict[str, int]  # of each byte
    apart: int = 1  # bytes from one that is tried to the next

    def flips(self) -> Iterator[tuple[str, int, int]]:
        """File, byte and bit of each."""
        for file, content in self.files.items():
            for byte in range(len(content)):
                if byte % self.apart and not (file == FILE_NAME and byte < HEADER_BYTES):
                    continue
                if file == ANCHOR and byte % SLOT_DISTANCE >= SLOT_BYTES and byte % 64:
                    continue  # what fills the disk's block behind a slot
                for bit in range(self.bits[file]):
                    yield file, byte, (bit + byte // self.apart) % 8


def subjects() -> list[Subject]:
    """The three journals."""
    return [
        _made("at rest", killed=False, page=SMALLEST_PAGE, bits=dict.fromkeys(FILES, 8)),
        _made("killed", killed=True, page=SMALLEST_PAGE, bits=dict.fromkeys(FILES, 8) | {FILE_NAME: 1}),
        _made("killed, pages in use", killed=True, page=database._PAGE_BYTES, bits=dict.fromkeys(FILES, 1), apart=8),
    ]


def _made(name: str, *, killed: bool, page: int, bits: dict[str, int], apart: int = 1) -> Subject:
    before, database._PAGE_BYTES = database._PAGE_BYTES, page
    try:
        with in_memory() as directory:
            state = Path(directory) / "state"
            planned = commits()[:5]
            with Journal.open(state, clock=StoppedClock()) as journal:
                for commit in planned[:3]:
                    journal.append(*commit)
            events = []
            with Journal.open(state, clock=StoppedClock(), on_event=events.append) as journal:
                for commit in planned[3:]:
                    events += journal.append(*commit)
                live = contents(state)
            files = live if killed else contents(state)
    finally:
        database._PAGE_BYTES = before
    return Subject(name, {file: files[file] for file in FILES if files.get(file)}, tuple(events), bits, apart)


def became(subject: Subject, file: str, byte: int, bit: int, state: Path) -> str:
    """What a flip does: "found: ...", "told", "unread", or how the promise was broken."""
    damaged = {**subject.files, file: flipped(subject.files[file], byte, bit)}
    for name, content in damaged.items():
        (state / name).write_bytes(content)
    events: list[Recorded] = []
    try:
        report = verified(state, read_anchor(state), on_event=events.append, anchored=True)
    except FOUND as error:
        return f"found: {type(error).__name__}" if contents(state) == damaged else "broken: a refusal changed a file"
    except Exception as error:  # noqa: BLE001 - whatever it is, it does not say that the journal is damaged
        return f"broken: {type(error).__name__}: {error}"
    if tuple(events) != subject.events:
        return f"broken: {len(events)} events are read for {len(subject.events)}, and nothing is said"
    return _goes_on(subject, report, state)


def _goes_on(subject: Subject, report: Report, state: Path) -> str:
    try:
        with Journal.open(state, clock=StoppedClock()) as journal:
            if journal.repaired != tuple(report.warnings):
                return f"broken: opening tells {journal.repaired}, verifying {report.warnings}"
            journal.append(RunStarted(run=9))
        events: list[Recorded] = []
        Journal.open(state, clock=StoppedClock(), on_event=events.append).close()
    except Exception as error:  # noqa: BLE001 - it was sound a moment ago
        return f"broken: sound, and then {type(error).__name__}: {error}"
    finally:
        for path in state.iterdir():
            path.unlink()
    if tuple(events[:-1]) != subject.events or events[-1].event != RunStarted(run=9):
        return "broken: what was appended is not what is read"
    return "told" if report.warnings else "unread"


def share_of(number: int, shares: int, *, first: int, every: int) -> Counter[str]:
    """A worker's part of all flips."""
    counts: Counter[str] = Counter()
    with in_memory() as directory:
        state = Path(directory) / "state"
        for subject in subjects():
            shutil.rmtree(state, ignore_errors=True)
            state.mkdir()
            for file, byte, bit in itertools.islice(subject.flips(), first + number * every, None, every * shares):
                what = became(subject, file, byte, bit, state)
                if what.startswith("broken"):
                    print(json.dumps({"journal": subject.name, "file": file, "byte": byte, "bit": bit, "became": what}))
                counts[f"{subject.name}, {file}: {what if what.startswith('found') else what.split(':')[0]}"] += 1
                counts["flips"] += 1
                counts[what.split(":")[0]] += 1
    return counts


def main() -> int:
    """Flips all of them, or a share."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, help="only every N-th flip")
    parser.add_argument("--first", type=int, default=0, help="the first one")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    asked = parser.parse_args()
    part = partial(share_of, shares=asked.workers, first=asked.first, every=asked.every)
    with ProcessPoolExecutor(asked.workers) as pool:
        counts = sum(pool.map(part, range(asked.workers)), Counter[str]())
    print(json.dumps({"broken": 0} | dict(sorted(counts.items()))))
    return 1 if counts["broken"] else 0


if __name__ == "__main__":
    sys.exit(main())
