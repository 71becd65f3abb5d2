"""Every durable call of the journal, attacked: killed there, torn, or answered with an error; what is left is read again.

    python tests/crash/failing_disk.py [--every N] [--first N]

Without options every call meets every attack (about 12 s); `--every 5 --first 2` takes the calls 2, 7, 12 ...
Prints one line of JSON for each attack that broke the promise, and last the counts; ends with 1 where one was broken.
The promise: the events that can be read are the first ones that were to be written, in order, and every acknowledged one
is among them; or the damage is told with its exit code.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import functools
import itertools
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import msgspec

from builders import a_finished_story
from crash.preloading import only_with_the_disk_shim
from journal_builders import StoppedClock
from patience import HANG
from serviceopt_journal import database
from serviceopt_journal.errors import JournalError, JournalFull, ServiceoptError
from serviceopt_journal.events import Event
from serviceopt_journal.store import Journal

ATTACKS = (
    ("kill", False), ("tear", False), ("half", True),
    ("eio", False), ("eio", True), ("enospc", False), ("enospc", True),
    ("edquot", True),
)  # fmt: skip
"""What the disk does, and whether it goes on doing so."""

NOT_REACHED = 100
"""The exit status of a writer that came to its end before the call that was to fail."""

UNFORESEEN = 99
"""The exit status of a writer that ended with an error that is none of ours."""


def in_memory() -> tempfile.TemporaryDirectory[str]:
    """A directory in memory where that is possible: a killed process loses nothing of it, and syncs are free."""
    shared = Path("/dev/shm")
    return tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else None, prefix="serviceopt-disk-")


def commits() -> list[list[Event]]:
    """What is to be written: commits of one to three events."""
    # As they are read back: a tuple as a list, a whole number as the float that it is meant to be.
    events = [msgspec.json.decode(msgspec.json.encode(event), type=type(event)) for event in a_finished_story()][:16]
    sizes = itertools.cycle((1, 2, 3))
    cut: list[list[Event]] = []
    while events:
        size = next(sizes)
        cut.append(events[:size])
        events = events[size:]
    return cut


def write_all(
    state: Path, acknowledged: Callable[[int], object], *, synchronous: str = "FULL", anchor: bool = True
) -> None:
    """Writes the commits in two sittings, with checkpoints in the middle of both; tries again when the disk is full."""
    database._CHECKPOINT_PAGES = 4
    planned = commits()
    for share in (planned[:5], planned[5:]):
        with Journal.open(state, clock=StoppedClock(), anchor=anchor) as journal:
            if synchronous != "FULL":
                journal._connection.execute(f"PRAGMA synchronous = {synchronous}")
            for commit in share:
                acknowledged(appended(journal, commit))


def appended(journal: Journal, commit: list[Event]) -> int:
    for _ in range(3):
        try:
            return journal.append(*commit)[-1].seq
        except JournalFull as error:
            full: JournalError = error
            with contextlib.suppress(JournalFull):
                journal.reopen()
    raise full


@functools.cache
def _planned() -> tuple[list[Event], frozenset[int]]:
    """All events that are to be written, and the numbers with which a commit ends."""
    ends = itertools.accumulate(map(len, commits()), initial=0)
    return [event for commit in commits() for event in commit], frozenset(ends)


def judge(state: Path, acknowledged: int, *, anchor: bool = True, whole_commits: bool = True) -> str:
    """What became of what was acknowledged: "there", "told: N" (an exit code), or how the promise was broken."""
    found: list[Event] = []
    planned, ends = _planned()
    try:
        with Journal.open(
            state, clock=StoppedClock(), anchor=anchor, on_event=lambda record: found.append(record.event)
        ) as journal:
            if found != planned[: len(found)]:
                return "broken: other events than were written, or in another order"
            if whole_commits and len(found) not in ends:
                return f"broken: event {len(found)} is not the last one of its commit"
            if len(found) < acknowledged:
                return f"broken: {acknowledged} events acknowledged, {len(found)} there, and nothing said"
            journal.append(planned[0])  # and it goes on
    except ServiceoptError as error:
        return f"told: {int(error.exit_code)}"
    return "there"


@contextlib.contextmanager
def forked(work: Callable[[], int]) -> Iterator[int]:
    """The exit status of `work` in a process of its own; negative for a signal."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = UNFORESEEN
        try:
            status = work()
        except ServiceoptError as error:
            status = int(error.exit_code)
        finally:
            os._exit(status)
    deadline = time.monotonic() + HANG
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise TimeoutError(f"a writer did not end within {HANG:g} s")
        time.sleep(0.001)
    yield os.waitstatus_to_exitcode(ended[1])


def attacked(root: Path, at: int, does: str, *, always: bool) -> tuple[str, int]:
    """One writer on a disk that fails at call number `at`: what is left, and its exit status."""
    state, told = root / "state", root / "acknowledged"
    shim = ctypes.CDLL(None)

    def write() -> int:
        out = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        shim.disk_shim_arm(str(state).encode(), ctypes.c_long(at), does.encode(), int(always), b"")
        write_all(state, lambda seq: os.write(out, b"%d\n" % seq))
        return 0 if shim.disk_shim_count() >= at else NOT_REACHED

    shutil.rmtree(state, ignore_errors=True)
    told.unlink(missing_ok=True)
    with forked(write) as status:
        acknowledged = int((told.read_text().split() or ["0"])[-1])
        return judge(state, acknowledged), status


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, help="only every N-th call")
    parser.add_argument("--first", type=int, default=1, help="the first call")
    asked = parser.parse_args()
    only_with_the_disk_shim()
    counts: Counter[str] = Counter()
    with in_memory() as directory:
        for (does, always), first in zip(ATTACKS, itertools.count(asked.first), strict=False):
            for at in itertools.count((first - 1) % asked.every + 1, asked.every):
                became, status = attacked(Path(directory), at, does, always=always)
                if status == NOT_REACHED:
                    break
                counts[f"{does}{' for ever' if always else ''}"] += 1
                if status == UNFORESEEN:
                    became = "broken: the writer ended with a traceback"
                elif became.startswith("told") and does in ("kill", "tear", "half"):
                    became = f"broken: nothing was damaged, and yet {became}"
                if became.startswith("broken"):
                    print(json.dumps({"at": at, "does": does, "for ever": always, "became": became}))
                counts[became.split(":")[0]] += 1
    print(json.dumps(counts))
    sys.exit(1 if counts["broken"] else 0)


if __name__ == "__main__":
    main()
