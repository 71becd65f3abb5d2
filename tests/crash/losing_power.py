"""Every state that a power loss may leave of the journal's files, made from a recorded run, and opened again.

    python tests/crash/losing_power.py [--every N] [--first N] [--seed S] [--workers N]

A writer's calls are recorded (disk_shim.c). After each of them the power fails: what was synced is there, and of what was
not, any part may be, in any order, cut at any sector; a file's name is there for sure only when its directory was synced.
`disk_states.py` makes these states. Some of them are opened, written on, and lose power a second time; some writers are
killed before a sync, and power is lost while the next one goes on.

The promise: nothing was damaged, so nothing is refused, and the events are the first ones that were to be written, in whole
commits, with every acknowledged one among them. The control, `synchronous=NORMAL` without the anchor, has to lose events in
silence; with the anchor it has to tell each loss. Prints each broken promise, and last the counts as JSON; ends with 1 where
a promise was broken or a control lost nothing.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from crash.disk_states import Call, Disk, Files, calls_of, written_out
from crash.failing_disk import commits, forked, in_memory, judge, write_all
from crash.preloading import only_with_the_disk_shim
from journal_builders import StoppedClock
from serviceopt_journal.anchor import FILE_NAME as ANCHOR
from serviceopt_journal.events import Event
from serviceopt_journal.store import Journal
from serviceopt_journal.verification import verify

CONTROLLED = 5
"""The controls lose power after every N-th call; their writes are not torn."""

Acknowledged = Callable[[int], object]
Writing = Callable[[Path, Acknowledged], None]
Judging = Callable[[Path, int], str]


@dataclass(frozen=True)
class Loss:
    """A state after a power loss: how it was made, its files, and the last event acknowledged before."""

    after: int  # calls
    kind: str
    files: Files
    acknowledged: int
    names_lost: bool


def recorded(root: Path, write: Writing, *, killed_at: int = 0) -> list[Call]:
    """The calls of a writer in `root`/state, with a mark for each event that it got acknowledged."""
    shim, trace = ctypes.CDLL(None), root.with_name("trace")

    def work() -> int:
        shim.disk_shim_arm(str(root).encode(), ctypes.c_long(killed_at), b"kill", 0, str(trace).encode())
        write(root / "state", lambda seq: shim.disk_shim_mark(ctypes.c_long(seq)))
        return 0

    with forked(work) as status:
        if status != 0 and not (killed_at and status == -signal.SIGKILL):
            raise RuntimeError(f"the writer to be recorded ended with exit status {status}")
    return calls_of(trace, root)


def losses(
    calls: list[Call],
    chooser: random.Random,
    *,
    first: int = 0,
    every: int = 1,
    before: Files | None = None,
    torn: bool = True,
) -> Iterator[Loss]:
    """The states after every N-th call from the first on; each once for as many acknowledged events."""
    disk, acknowledged, seen = Disk(before or {}), 0, set()
    for after, call in enumerate(calls):
        if call.kind == "mark":
            acknowledged = call.offset
        else:
            disk.take(call)
        if after < first or after % every != first % every:
            continue
        for kind, names_lost, files in disk.states(chooser, torn=torn):
            key = (acknowledged, *sorted((name, hash(content)) for name, content in files.items()))
            if key not in seen:
                seen.add(key)
                yield Loss(after, kind, files, acknowledged, names_lost)


def judged(state: Path, acknowledged: int, *, anchor: bool = True, whole_commits: bool = True) -> str:
    """As the writer of the next start finds it, and a reader before it."""
    if anchor and (state / "journal.db").exists() and (state / "journal.db").stat().st_size:
        report = verify(state)
        if report.problems:
            return f"told: {report.problems[0]}"
        if report.events < acknowledged:
            return f"broken: {acknowledged} events acknowledged, a reader finds {report.events}"
    return judge(state, acknowledged, anchor=anchor, whole_commits=whole_commits)


def went_on(root: Path, loss: Loss, chooser: random.Random) -> Iterator[Loss]:
    """The states that a second power loss leaves of a writer that opens this one and appends two events more."""

    written_out(loss.files, root)
    for second in losses(recorded(root, two_more), chooser, before=loss.files):
        acknowledged = max(loss.acknowledged, second.acknowledged)
        yield Loss(loss.after, f"twice: {second.kind}", second.files, acknowledged, second.names_lost)


def killed_before(root: Path, at: int, chooser: random.Random, *, torn: bool = True) -> Iterator[Loss]:
    """A writer is killed at this call, and power is lost while the next one opens the journal and goes on.

    What the first one wrote is there for the second, synced or not: a kill loses nothing of it.
    """
    written_out({}, root)
    killed = recorded(root, write_all, killed_at=at)
    calls = killed + recorded(root, two_more)
    for loss in losses(calls, chooser, first=len(killed), torn=torn):
        yield Loss(at, f"killed before: {loss.kind}", loss.files, loss.acknowledged, loss.names_lost)


def syncs_of_commits(calls: list[Call]) -> list[int]:
    """The numbers of the calls by which a commit and its anchor become durable: two for each commit.

    A kill before one of these leaves the most that is not on the disk.
    """
    syncs: list[int] = []
    log = 0
    for before, call in pairwise(calls):
        if call.kind == "sync" and before.kind == "write":
            if call.path.endswith("-wal"):
                log = call.number
            elif call.path.endswith(ANCHOR) and log:
                syncs += [log, call.number]
                log = 0
    return syncs


def one_commit(number: int, seed: int) -> Counter[str]:
    """Kills before the syncs of this commit alone, and what a power loss leaves of the writer after it."""
    counts: Counter[str] = Counter()
    with in_memory() as directory:
        root = Path(directory) / "disk"
        root.mkdir()
        syncs = syncs_of_commits(recorded(root, write_all))
        for at in syncs[2 * number : 2 * number + 2]:
            for loss in killed_before(root, at, random.Random(seed), torn=False):
                count(counts, root, loss, partial(judged, whole_commits=False), refused_is_broken=True)
    return counts


def in_the_making(seed: int) -> Counter[str]:
    """Power is lost while the first opening makes the journal."""

    def write(state: Path, acknowledged: Acknowledged) -> None:
        Journal.open(state, clock=StoppedClock()).close()
        acknowledged(0)

    counts: Counter[str] = Counter()
    with in_memory() as directory:
        root = Path(directory) / "disk"
        root.mkdir()
        for loss in losses(recorded(root, write), random.Random(seed)):
            count(counts, root, loss, judged, refused_is_broken=True)
    return counts


def two_more(state: Path, acknowledged: Acknowledged) -> None:
    """Opens what is there, and appends the next two events. What a start has read, it acts on: it counts as acknowledged."""
    found: list[Event] = []
    planned = [event for commit in commits() for event in commit]
    with Journal.open(state, clock=StoppedClock(), on_event=lambda record: found.append(record.event)) as journal:
        acknowledged(len(found))
        for event in planned[len(found) :][:2]:
            acknowledged(journal.append(event)[-1].seq)


def share_of(number: int, shares: int, *, first: int, every: int, seed: int, again: int, killed: int) -> Counter[str]:
    """A worker's part: every state of the journal after its calls, and second losses of some of them."""
    counts: Counter[str] = Counter()
    chooser = random.Random(f"{seed} {number}")
    with in_memory() as directory:
        root = Path(directory) / "disk"
        root.mkdir()
        calls = recorded(root, write_all)
        counts["calls"] = len(calls) if number == 0 else 0
        syncs = syncs_of_commits(calls)
        for at in syncs[number * killed :: shares * killed]:
            for loss in killed_before(root, at, chooser):
                count(counts, root, loss, partial(judged, whole_commits=False), refused_is_broken=True)
        for loss in losses(calls, chooser, first=first + number * every, every=every * shares):
            count(counts, root, loss, judged, refused_is_broken=True)
            if not chooser.randrange(again):
                for second in went_on(root, loss, chooser):
                    count(counts, root, second, partial(judged, whole_commits=False), refused_is_broken=True)
    return counts


def count(counts: Counter[str], root: Path, loss: Loss, judging: Judging, *, refused_is_broken: bool) -> None:
    """Opens one state, and counts what came of it."""
    written_out(loss.files, root)
    became = judging(root / "state", loss.acknowledged)
    if refused_is_broken and became.startswith("told"):
        became = f"broken: nothing was damaged, and yet {became}"
    if became.startswith("broken") and refused_is_broken:
        print(json.dumps({"after": loss.after, "state": loss.kind, "became": became}), flush=True)
    counts[loss.kind] += 1
    counts["with a name lost"] += loss.names_lost
    counts["states"] += 1
    counts[became.split(":")[0]] += 1


def control(*, anchor: bool, every: int, seed: int) -> Counter[str]:
    """The same with `synchronous=NORMAL`, which does not sync a commit: what is lost, and what of that is told."""
    counts: Counter[str] = Counter()
    with in_memory() as directory:
        root = Path(directory) / "disk"
        root.mkdir()
        calls = recorded(root, partial(write_all, synchronous="NORMAL", anchor=anchor))
        for loss in losses(calls, random.Random(seed), every=every, torn=False):
            count(counts, root, loss, partial(judged, anchor=anchor), refused_is_broken=False)
    return counts


def main() -> int:
    """Does all of it, or a share."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, help="only after every N-th call")
    parser.add_argument("--first", type=int, default=0, help="the first of these calls")
    parser.add_argument("--again", type=int, default=100, help="one state of so many loses power twice")
    parser.add_argument("--killed", type=int, default=3, help="a kill comes before one sync of so many")
    parser.add_argument("--commit", type=int, help="only kills before the syncs of this commit, and nothing else")
    parser.add_argument("--making", action="store_true", help="only while the first opening makes the journal")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    asked = parser.parse_args()
    only_with_the_disk_shim()
    if asked.making or asked.commit is not None:
        counts = in_the_making(asked.seed) if asked.making else one_commit(asked.commit, asked.seed)
        print(json.dumps(dict(sorted(counts.items())) | {"broken": counts["broken"]}))
        return 1 if counts["broken"] else 0
    part = partial(
        share_of, shares=asked.workers, first=asked.first, every=asked.every, seed=asked.seed, again=asked.again,
        killed=asked.killed,
    )  # fmt: skip
    with ProcessPoolExecutor(asked.workers) as pool:
        shares = pool.map(part, range(asked.workers))
        silent = pool.submit(control, anchor=False, every=CONTROLLED, seed=asked.seed)
        told = pool.submit(control, anchor=True, every=CONTROLLED, seed=asked.seed)
        counts = sum(shares, Counter[str]())
    controls = {
        "NORMAL, no anchor": {"states": silent.result()["states"], "lost in silence": silent.result()["broken"]},
        "NORMAL, anchor": {
            "states": told.result()["states"], "told": told.result()["told"], "lost in silence": told.result()["broken"]
        },
    }  # fmt: skip
    print(json.dumps(dict(sorted(counts.items())) | {"broken": counts["broken"]} | {"controls": controls}))
    lost = silent.result()["broken"] and told.result()["told"] and not told.result()["broken"]
    return 0 if lost and not counts["broken"] else 1


if __name__ == "__main__":
    sys.exit(main())
