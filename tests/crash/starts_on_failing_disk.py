"""Every durable call of a start, failed once: the service begins all the same, and nothing that was there is lost.

    python tests/crash/starts_on_failing_disk.py [--every N]

Prints one line of JSON for each start that did not come to its end, and last the counts; ends with 1 where one did not.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import itertools
import json
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from builders import a_finished_story
from crash.failing_disk import NOT_REACHED, forked, in_memory
from crash.preloading import only_with_the_disk_shim
from serviceopt_journal.events import DaemonStarted
from serviceopt_journal.places import Places
from serviceopt_journal.reader import JournalReader
from serviceopt_journal.store import Journal
from serviceopt_journal.verification import verify
from serviceoptd import bootstrap
from serviceoptd.io import log

ERRORS = ("eio", "enospc", "edquot")


def as_a_kill_leaves_it(root: Path) -> Path:
    """A state directory whose writer never closed it."""
    with Journal.open(root / "live") as journal:
        for event in a_finished_story():
            journal.append(event)
        shutil.copytree(root / "live", root / "killed")
    shutil.rmtree(root / "live")
    return root / "killed"


def starts(root: Path, at: int, does: str) -> int:
    """One start of the service on a disk that fails at call number `at`: the exit status of its process."""
    shim = ctypes.CDLL(None)

    async def start() -> None:
        async with bootstrap.opened(Places(root / "state", root / "socket"), standalone=False):
            pass

    def work() -> int:
        log.configure("ERROR")
        bootstrap.RETRY_AFTER = 0.001
        shim.disk_shim_arm(str(root / "state").encode(), ctypes.c_long(at), does.encode(), 0, b"")
        asyncio.run(start())
        return 0 if shim.disk_shim_count() >= at else NOT_REACHED

    with forked(work) as status:
        return status


def became(state: Path, events: int) -> str:
    """What is there after the start."""
    if problems := verify(state).problems:
        return f"damaged: {problems[0]}"
    recorded = [record.event for record in JournalReader.open(state).events()]
    begun = sum(isinstance(event, DaemonStarted) for event in recorded[events:])
    # A commit whose anchor failed was not acknowledged, and is there all the same: legal.
    return "started" if recorded[:events] == recorded[:-begun] and begun in (1, 2) else "other events than were written"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, help="only every N-th call")
    every = parser.parse_args().every
    only_with_the_disk_shim()
    counts: Counter[str] = Counter()
    with in_memory() as directory, tempfile.TemporaryDirectory() as aside:
        killed = as_a_kill_leaves_it(Path(aside))
        events = JournalReader.open(killed).head().seq
        for number, (journal, does) in enumerate(itertools.product((None, killed), ERRORS)):
            for at in itertools.count(number % every + 1, every):
                state = Path(directory) / "state"
                shutil.rmtree(state, ignore_errors=True)
                if journal is not None:
                    shutil.copytree(journal, state)
                status = starts(Path(directory), at, does)
                if status == NOT_REACHED:
                    break
                result = became(state, events if journal else 0) if status == 0 else f"exit status {status}"
                if result != "started":
                    print(json.dumps({"new": journal is None, "at": at, "does": does, "became": result}))
                counts[result] += 1
    print(json.dumps(counts))
    sys.exit(0 if list(counts) == ["started"] else 1)


if __name__ == "__main__":
    main()
