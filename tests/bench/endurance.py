"""What a daemon's long life costs: time, memory and how they grow.

Run: python tests/bench/endurance.py [--events 1000000] [--pso 10000] [--swarm 1000] [--followed 20000] [--json]

* `events`: a journal of a tenth of the events and one of all of them: seconds until the daemon answers, its memory, and the
  seconds of `serviceoptctl status` while it runs and while it does not.
* `pso`, `swarm`: one run of so many evaluations on the daemon's own loop, with the rules that are on by default, on an
  engine and a client that answer at once: processor time of an evaluation and memory, by eighths of the run.
* `followed`: a real daemon works on a run until so many events are written, with ten followers of its event stream, of
  which one never reads: what the others got, and the daemon's memory with and without the one that does not read.

0 leaves a part out. Exit status 1: something grows without a bound; the lines say what. `--json`: the figures as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from proposal_time import RUN, whole_run
from state_replay import many_runs

from patience import HANG
from serviceopt_journal.events import Event, RunFinished
from serviceopt_journal.store import Journal
from stubs.scenario import client, places, start, wait_for

KIB = 1024.0
BATCH = 1000
EACH_RUN = 40
FOLLOWERS = 10
MOST_ITERATIONS = 1000
LINEAR = 1.5
"""For ten times the events, ten times this often the time and memory at most."""
GROWTH = 4.0
"""The last eighth of a long run may take so many times the processor time of the second; its models are full by then."""
SECONDS = 1.0
"""And no evaluation more processor time than this, on a machine with nothing else to do."""
EACH_EVALUATION = 96.0
"""KiB of memory that an evaluation leaves behind: its particles and events, of which a search proposes several."""
ANYWAY = 16 * KIB
"""KiB that memory may grow for no reason that can be told."""
NOT_READ = 16 * KIB
"""KiB that a follower which does not read may cost the daemon: what is read ahead of it, and what waits for it."""

Figures = dict[str, Any]


def memory(pid: int, which: str = "VmRSS") -> float:
    """KiB of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"^{which}:\s+(\d+) kB", status, re.MULTILINE)
    return float(found[1]) if found else 0.0


@contextmanager
def daemon(directory: Path) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """A daemon that answers, and the seconds until it did; ended afterwards."""
    (directory / "runs.d").mkdir(exist_ok=True)
    began = time.monotonic()
    process = start(
        "serviceoptd", "--config-dir", str(directory / "runs.d"), environment=places(directory),
        log=directory / "daemon.log",
    )  # fmt: skip
    try:
        wait_for(lambda: _connects(directory / "s") or process.poll() is not None, "an answer of the daemon", 1200.0)
        if process.poll() is not None:
            raise SystemExit((directory / "daemon.log").read_text()[-2000:])
        yield process, time.monotonic() - began
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=HANG)
        finally:
            process.kill()


def _connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def status(directory: Path) -> float:
    """Seconds of `serviceoptctl status`."""
    began = time.monotonic()
    ended = client("status", "--json", environment=places(directory), limit=600.0)
    if ended.returncode:
        raise SystemExit(f"status failed ({ended.returncode}): {ended.stderr}{ended.stdout[-500:]}")
    return time.monotonic() - began


def finished_runs() -> Iterator[Event]:
    """Runs that are over, one after the other."""
    told = many_runs(EACH_RUN - 1)
    for run in count(1):
        yield from islice(told, EACH_RUN - 1)
        yield RunFinished(
            run=run, outcome="completed", reason="budget used", recommended=1, feasible=True, evaluations=3, seconds=90.0
        )  # fmt: skip


def after_events(number: int) -> Figures:
    """A start on a journal of so many events, and what asks it."""
    with tempfile.TemporaryDirectory() as root:
        directory, told = Path(root), finished_runs()
        with Journal.open(directory / "state") as journal:
            for begun in range(0, number, BATCH):
                journal.append(*islice(told, min(BATCH, number - begun)))
        down = status(directory)
        with daemon(directory) as (process, seconds):
            first, up = status(directory), status(directory)
            return {
                "events": number, "ready_seconds": seconds, "memory_kib": memory(process.pid),
                "peak_kib": memory(process.pid, "VmHWM"), "status_down_seconds": down,
                "status_up_seconds": min(first, up),
            }  # fmt: skip


def of_events(number: int) -> tuple[list[Figures], list[str]]:
    """A tenth of the events and all of them, and what grew faster than they did."""
    few, many = after_events(number // 10), after_events(number)
    idle = after_events(10)  # what a daemon takes that has nothing to read
    wrong = []
    for key in ("ready_seconds", "memory_kib", "peak_kib", "status_down_seconds"):
        less, more = max(few[key] - idle[key], 0.1), many[key] - idle[key]
        if more > 10 * LINEAR * less:
            wrong.append(f"{key} grows from {few[key]:.1f} to {many[key]:.1f} with ten times the events")
    return [idle, few, many], wrong


def of_a_run(strategy: str, evaluations: int) -> tuple[Figures, list[str]]:
    """One long run in a process of its own, by eighths, and what grew too much."""
    command = [sys.executable, __file__, "--one-run", strategy, "--evaluations", str(evaluations)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: Figures = json.loads(ended.stdout.splitlines()[-1])
    seconds, kib = figures["seconds"], figures["memory_kib"]
    wrong = []
    if seconds[-1] > GROWTH * seconds[1] and seconds[-1] > SECONDS:
        wrong.append(f"an evaluation of {strategy} takes {seconds[1]:.3f} s and in the end {seconds[-1]:.3f} s")
    later = kib[len(kib) // 2 - 1 :]  # what the first half loads and fills is there by then
    left = (later[-1] - later[0]) / max(1, evaluations * (len(later) - 1) / 8)
    figures["kib_each_evaluation"] = left
    if left > EACH_EVALUATION and later[-1] - later[0] > ANYWAY:
        wrong.append(f"an evaluation of {strategy} leaves {left:.0f} KiB behind")
    return figures, wrong


def one_run(strategy: str, evaluations: int) -> Figures:
    """The run itself: seconds of processor time of an evaluation, and KiB, at the end of each eighth."""
    kib: list[float] = []
    share = max(1, evaluations // 8)

    def note(done: int) -> None:
        if done % share == 0:
            kib.append(memory(os.getpid()))

    with tempfile.TemporaryDirectory() as directory:
        ends = asyncio.run(whole_run(strategy, evaluations, Path(directory), note))
    means = [(ends[at + share] - ends[at]) / share for at in range(0, len(ends) - share, share)]
    return {"strategy": strategy, "evaluations": len(ends) - 1, "seconds": means[:8], "memory_kib": kib[:8]}


class Follower(threading.Thread):
    """Reads the stream of events from the first one on, and asks again from its last one when the stream ends."""

    def __init__(self, path: Path, last: int) -> None:
        super().__init__(daemon=True)
        self.path, self.last = path, last
        self.seen = 0
        self.missing = 0
        self.asked = 0

    def run(self) -> None:
        while self.seen < self.last:
            self.asked += 1
            with asked(self.path, self.seen) as stream, stream.makefile("rb") as lines:
                for line in lines:
                    if line.startswith(b"id: "):
                        number = int(line.split()[1])
                        self.missing += number != self.seen + 1
                        self.seen = number
                    if self.seen >= self.last:
                        return


def asked(path: Path, after: int) -> socket.socket:
    """A connection on which the events after this one come."""
    stream = socket.socket(socket.AF_UNIX)
    stream.settimeout(HANG)
    stream.connect(str(path))
    stream.sendall(b"GET /v1/events/stream?after=%d HTTP/1.1\r\nHost: here\r\n\r\n" % after)
    return stream


def followed(events: int, *, one_does_not_read: bool) -> Figures:
    """A daemon that works until so many events are written, while ten follow it."""
    with tempfile.TemporaryDirectory() as root:
        directory = Path(root)
        configuration = directory / "run.toml"
        text = RUN.format(strategy="random", members=10, iterations=MOST_ITERATIONS)
        configuration.write_text(text.replace("[proof]", "rules = []\n[proof]"))
        with daemon(directory) as (process, _):
            submitted = client("run", "-c", str(configuration), environment=places(directory), cwd=directory)
            if submitted.returncode:
                raise SystemExit(submitted.stderr + submitted.stdout)
            readers = [Follower(directory / "s", events) for _ in range(FOLLOWERS - 1)]
            silent = [asked(directory / "s", 0)] if one_does_not_read else []
            for reader in readers:
                reader.start()
            began = time.monotonic()
            for reader in readers:
                reader.join(timeout=1200.0)
            kib, seconds = memory(process.pid), time.monotonic() - began
            for stream in silent:
                stream.close()
        return {
            "events": events, "one_does_not_read": one_does_not_read, "seconds": seconds, "memory_kib": kib,
            "least_seen": min(reader.seen for reader in readers), "missing": sum(r.missing for r in readers),
            "asked": sum(reader.asked for reader in readers),
        }  # fmt: skip


def of_followers(events: int) -> tuple[list[Figures], list[str]]:
    """The daemon's memory with one that does not read and without, and what the others did not get."""
    both = [followed(events, one_does_not_read=silent) for silent in (False, True)]
    wrong = [f"{each['missing']} events did not come in their order" for each in both if each["missing"]]
    wrong += [f"a follower got {each['least_seen']} events" for each in both if each["least_seen"] < events]
    if (more := both[1]["memory_kib"] - both[0]["memory_kib"]) > NOT_READ:
        wrong.append(f"a follower that does not read costs {more:.0f} KiB")
    return both, wrong


def measured(events: int, runs: dict[str, int], followed_events: int) -> tuple[Figures, list[str]]:
    """All figures, and what grows without a bound."""
    figures: Figures = {}
    wrong: list[str] = []
    if events:
        figures["events"], found = of_events(events)
        wrong += found
    for strategy, evaluations in runs.items():
        if evaluations:
            figures[strategy], found = of_a_run(strategy, evaluations)
            wrong += found
    if followed_events:
        figures["followers"], found = of_followers(followed_events)
        wrong += found
    return figures, wrong


def table(figures: Figures) -> Iterator[str]:
    """The figures in lines."""
    for each in figures.get("events", ()):
        yield (
            f"{each['events']:9} events: answers after {each['ready_seconds']:.1f} s with "
            f"{each['memory_kib'] / KIB:.0f} MiB (peak {each['peak_kib'] / KIB:.0f}), "
            f"status {each['status_up_seconds']:.1f} s, {each['status_down_seconds']:.1f} s with the daemon down"
        )
    for name in ("pso", "swarm"):
        if name in figures:
            each = figures[name]
            yield (
                f"{each['evaluations']:9} evaluations of {name}: "
                + " ".join(f"{seconds:.3f}" for seconds in each["seconds"])
                + f" s each by eighths, {each['memory_kib'][0] / KIB:.0f} to {each['memory_kib'][-1] / KIB:.0f} MiB, "
                f"{each['kib_each_evaluation']:.1f} KiB each"
            )
    for each in figures.get("followers", ()):
        which = "one of ten does not read" if each["one_does_not_read"] else "nine followers"
        yield (
            f"{each['events']:9} events, {which}: {each['memory_kib'] / KIB:.0f} MiB, all others have {each['least_seen']} "
            f"or more, {each['missing']} missing, {each['asked']} requests, {each['seconds']:.0f} s"
        )


def main() -> int:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--pso", type=int, default=10_000)
    parser.add_argument("--swarm", type=int, default=1000)
    parser.add_argument("--followed", type=int, default=20_000)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one-run", help=argparse.SUPPRESS)
    parser.add_argument("--evaluations", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one_run:
        print(json.dumps(one_run(given.one_run, given.evaluations)))
        return 0
    figures, wrong = measured(given.events, {"pso": given.pso, "swarm": given.swarm}, given.followed)
    print(json.dumps(figures | {"wrong": wrong}) if given.json else "\n".join([*table(figures), *wrong]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
