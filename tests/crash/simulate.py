"""Lives through many histories of the daemon, each made by its seed, and prints what they reached and what broke.

    simulate.py [--seeds N] [--from SEED]    N histories on all processors
    simulate.py --seed SEED                  one history, with its events

Exit status 1: a promise did not hold; the line names the seed that shows it again.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from crash.planted import PLANTED
from histories.history import Calm, Told, history


def lived(seed: int, plant: str = "", calm: Calm | None = None) -> Told:
    """One history, in memory where that is possible; with the bug of that name."""
    parent = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=parent, prefix="serviceopt-history-") as root:
        changes = [change for each in PLANTED if each.name == plant for change in each.changes()]
        return history(seed, Path(root), changes, calm)


def main() -> int:
    """Runs what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--from", dest="first", type=int, default=0)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--plant", choices=[each.name for each in PLANTED], default="")
    asked = parser.parse_args()
    if asked.seed is not None:
        told = lived(asked.seed, asked.plant)
        for record in told.records:
            print(record.seq, f"{record.monotonic:.3f}", record.event)
        print(*told.broken, sep="\n")
        print(told.lives, "lives", told.outcomes, told.digest)
        return 1 if told.broken else 0
    begun, events, lives, broken = time.monotonic(), 0, 0, 0
    reached: Counter[tuple[str, str]] = Counter()
    with ProcessPoolExecutor(asked.workers, initializer=gc.freeze) as pool:
        for told in pool.map(
            partial(lived, plant=asked.plant), range(asked.first, asked.first + asked.seeds), chunksize=4
        ):
            reached += told.reached
            events, lives = events + told.events, lives + told.lives
            if told.broken:
                broken += 1
                print(f"BROKEN: python tests/crash/simulate.py --seed {told.seed}: {told.broken[0]}", flush=True)
    took = time.monotonic() - begun
    kinds: Counter[str] = Counter()
    for (kind, _), times in reached.items():
        kinds[kind] += times
    for kind, times in sorted(kinds.items()):
        phases = ", ".join(f"{phase} {n}" for (each, phase), n in sorted(reached.items()) if each == kind)
        print(f"{times:6} {kind} ({phases})")
    print(
        f"{asked.seeds} histories, {lives} lives of the daemon, {events} events, {sum(kinds.values())} faults of "
        f"{len(kinds)} kinds in {len(reached)} combinations with a phase: {broken} broken; {took:.0f} s, "
        f"{asked.seeds / took * 60:.0f} histories a minute"
    )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
