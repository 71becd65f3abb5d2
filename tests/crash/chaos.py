"""Kills the real daemon at random moments of real runs, again and again, beside a full disk, a wall clock that is set, and
deaths of the engine and of the client; then compares with a run that nobody touched.

    chaos.py [--kills N] [--seed N] [--json]      runs with `swarm` and with `pso`, until so many daemons were killed
    chaos.py --seed N --only NUMBER               one of these runs again

Prints what was done, in which phase it struck, and what was left. Exit status 1: a promise did not hold; the line names
the command that repeats it, with the same plan at about the same moments: processes are not to be had to the microsecond.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parent.parent))

from crash.aftermath import differences, measured_again, of, untrue
from crash.attacked_run import AttackedRun, Stopped, attacked_run, enough
from patience import HANG
from serviceopt_journal import events as e
from serviceopt_journal.codec import Recorded
from serviceopt_journal.verification import verify
from stubs.scenario import left_over

STRATEGIES = ("swarm", "pso")
MOST_KILLS = 25  # of one run; then it is left in peace
BEGINNING, DELAY = 1.5, 0.4  # seconds: until a kill from the start on, or after a commit, at most
COMMITS = 12  # a daemon lives for so many at most: by its work and not by seconds, since machines differ in speed
HOWS = ("daemon", "group", "everything", "stopping")
APPEARS = 0.7  # seconds that an engine or a client which is to be killed is waited for
FULL = 3.0  # seconds that the disk is full, at most
CLOCK = (2.0, -2.0, 3600.0, -3600.0, 86400.0 * 366, -86400.0 * 366, 0.0)  # seconds that the wall clock is off


@dataclass(frozen=True)
class Act:
    """Something that is done to a daemon so many commits after it was ready, and so many seconds after that."""

    commits: int
    delay: float
    what: str  # "clock", "full", "engine", "client", or how the daemon is killed
    much: float = 0.0


@dataclass(frozen=True)
class Life:
    """What happens to one daemon, in order. `beginning`: it dies so many seconds after its start, ready or not."""

    beginning: float | None
    how: str  # "daemon", "group", "everything", "stopping"
    acts: tuple[Act, ...]


@dataclass
class Told:
    """What was done to runs, and what came of it."""

    kills: Counter[str] = field(default_factory=Counter)  # by how
    phases: Counter[str] = field(default_factory=Counter)  # kills by the last event before
    acts: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def add(self, other: Told) -> None:
        """Takes in another's counts."""
        for name in ("kills", "phases", "acts", "counts"):
            getattr(self, name).update(getattr(other, name))
        self.broken += other.broken


def life(random: Random) -> Life:
    """The next daemon's fate."""
    how = random.choices(HOWS, (4, 2, 2, 1))[0]
    death = _act(random, how, COMMITS)
    acts = [death]
    if random.random() < 0.4:
        acts.append(_act(random, "clock", death.commits, random.choice(CLOCK)))
    if random.random() < 0.2:
        acts.append(_act(random, "full", death.commits, random.uniform(0.1, FULL)))
    acts += [_act(random, program, death.commits) for program in ("engine", "client") if random.random() < 0.25]
    beginning = random.uniform(0.0, BEGINNING) if random.random() < 0.2 else None
    return Life(beginning, how, tuple(sorted(acts, key=lambda act: (act.commits, act.delay))))


def _act(random: Random, what: str, commits: int, much: float = 0.0) -> Act:
    delay = random.uniform(
        0.0, random.choice((0.02, DELAY))
    )  # right after a commit, or in the middle of what follows it
    return Act(random.randint(0, commits), delay, what, much)


class Chaos:
    """One run under attack."""

    def __init__(self, run: AttackedRun, random: Random, most_kills: int) -> None:
        self.run, self.random, self.most_kills = run, random, most_kills
        self.told = Told()
        self.killed = 0
        self._seen: list[Recorded] = []
        self._room_at = float("inf")
        self._hit: set[int] = set()  # evaluations of which a program was killed: a second time would be a result

    def live(self) -> None:
        """From the first start to the orderly end of the last daemon."""
        while self.killed < self.most_kills:
            if self._lived(life(self.random)):
                break
        else:
            self._in_peace()
        status = self.run.end()
        if status != 0:
            self.told.broken.append(f"the daemon ended with {status} when it was stopped")
        self.told.counts["lives"] += 1

    def _lived(self, plan: Life) -> bool:
        """One daemon until it is killed; True: the run is over, and the daemon lives."""
        daemon = self.run.start()
        begun = time.monotonic()
        acts, due = list(plan.acts), float("inf")
        while acts:
            self.run.listen(0.01)
            now = time.monotonic()
            self._make_room_when_due(now)
            if self._ended_by_itself(daemon):
                return False
            if self.run.over():
                return True
            if plan.beginning is not None and now >= begun + plan.beginning:
                break
            if due == float("inf") and self.run.ready and self.run.told >= acts[0].commits:
                due = now + acts[0].delay
            if now >= due:
                due = float("inf")
                if (act := acts.pop(0)).what == plan.how:
                    break
                self._do(act)
            if now > begun + HANG:
                raise TimeoutError(f"within {HANG:g} s nothing happens: {self.run.status}")
        self._kill(daemon, plan.how)
        return False

    def _in_peace(self) -> None:
        daemon = self.run.start()
        deadline = time.monotonic() + HANG
        while not self.run.over():
            self.run.listen(0.05)
            self._make_room_when_due(time.monotonic())
            if self._ended_by_itself(daemon) or time.monotonic() > deadline:
                raise TimeoutError(f"the run did not come to its end: {self.run.status}")

    def _ended_by_itself(self, daemon: subprocess.Popen[bytes]) -> bool:
        if daemon.poll() is None:
            return False
        self.told.broken.append(f"the daemon ended by itself with {daemon.returncode}")
        self._look("ended by itself")
        return True

    def _kill(self, daemon: subprocess.Popen[bytes], how: str) -> None:
        services, clients = self.run.processes()
        if len(services) > 1 or len(clients) > 1:
            self.told.broken.append(f"{len(services)} services and {len(clients)} clients at once")
        if how == "stopping":
            daemon.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                orderly = (0,) if self.run.ready else (0, -signal.SIGTERM)  # before it holds anything it just dies
                if daemon.wait(timeout=self.random.uniform(0.0, 0.3)) not in orderly:
                    self.told.broken.append(f"the daemon ended with {daemon.returncode} when it was stopped")
        if daemon.poll() is None:
            if how == "group":
                os.killpg(daemon.pid, signal.SIGKILL)
            else:
                daemon.kill()
            self.killed += 1
            self.told.kills[how] += 1
        if how == "everything":
            for pid in itertools.chain(*services.values(), *clients.values()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if daemon.wait(timeout=HANG) == -signal.SIGKILL:
            self._look("")
        self.told.counts["lives"] += 1

    def _look(self, phase: str) -> None:
        """What the journal holds after a death: all that it held before, and perhaps more."""
        recorded = self.run.records()
        if recorded[: len(self._seen)] != self._seen:
            self.told.broken.append(f"events that were there are not any more: {len(self._seen)}, {len(recorded)}")
        fresh = len(recorded) > len(self._seen)
        last = str(recorded[-1].event.__struct_config__.tag) if recorded and fresh else "before its first event"
        self.told.phases[phase or last] += 1
        self._seen = recorded
        self.run.meet_bystander(recorded)
        self._resume_what_is_held(recorded)

    def _resume_what_is_held(self, recorded: list[Recorded]) -> None:
        paused = of(recorded, e.RunPaused, e.RunResumed)
        if paused and isinstance(paused[-1], e.RunPaused):
            self.told.broken.append(f"the run is held: {paused[-1].reason}")

    def _do(self, act: Act) -> None:
        surroundings = self.run.surroundings
        match act.what:
            case "clock" if surroundings.shim is not None:
                surroundings.set_clock(act.much)
                self.told.acts["wall clock set"] += 1
            case "full" if surroundings.fills:
                surroundings.fill()
                self._room_at = max(time.monotonic() + act.much, self._room_at if self._room_at < float("inf") else 0.0)
                self.told.acts["disk filled"] += 1
            case "engine" | "client":
                self._kill_program(act.what)

    def _kill_program(self, kind: str) -> None:
        """SIGKILL, as somebody else's or the kernel's: to the leading process of its launch; waited for a moment."""
        begun = time.monotonic()
        while not (processes := self.run.processes()[kind == "client"]) and time.monotonic() < begun + APPEARS:
            self.run.listen(0.01)
        events = of(self.run.records(), e.ServiceLaunching, e.MeasurementStarted)
        evaluations = {event.launch_id: event.evaluation for event in events}
        for launch, pids in processes.items():
            if evaluations[launch] not in self._hit:
                self._hit.add(evaluations[launch])
                with contextlib.suppress(ProcessLookupError):
                    os.kill(min(pids), signal.SIGKILL)
                    self.told.acts[f"{kind} killed"] += 1

    def _make_room_when_due(self, now: float) -> None:
        if now >= self._room_at:
            self.run.surroundings.make_room()
            self._room_at = float("inf")


def uninterrupted(strategy: str, seed: int, iterations: int) -> list[Recorded]:
    """What a daemon records that nobody touches."""
    with attacked_run(strategy, seed, iterations) as run:
        Chaos(run, Random(0), most_kills=0).live()
        return run.records()


def attacked(seed: int, number: int, most_kills: int, iterations: int, whole: list[Recorded]) -> Told:
    """One run under attack, and what was left."""
    strategy = STRATEGIES[number % len(STRATEGIES)]
    began = time.monotonic()
    with attacked_run(strategy, seed, iterations) as run:
        chaos = Chaos(run, Random(f"{seed}/{number}"), most_kills)
        told = chaos.told
        try:
            chaos.live()
        except (TimeoutError, subprocess.TimeoutExpired) as error:
            told.broken.append(str(error))
        recorded = run.records()
        told.broken += remains(run, recorded)
        told.broken += differences(recorded, whole)
        told.broken += untrue(recorded, run.surroundings.account)
        told.counts.update(
            {
                "runs": 1, f"runs with {strategy}": 1, "events": len(recorded), "bystanders": run.bystander is not None,
                "measurements": len(of(recorded, e.MeasurementFinished)),
                "done and interrupted before they were recorded": measured_again(recorded, run.surroundings.account),
            }
        )  # fmt: skip
        kept = f"; its files: {keep(run.root)}" if told.broken else ""
        command = f"python tests/crash/chaos.py --seed {seed} --only {number} --iterations {iterations}"
        told.broken = [f"{command}: {each}{kept}" for each in told.broken]
        print(*(f"BROKEN: {each}" for each in told.broken), sep="\n", end="", file=sys.stderr)
        print(
            f"run {number} with {strategy}: {sum(told.kills.values())} kills in {time.monotonic() - began:.0f} s, "
            f"{len(told.broken)} broken", file=sys.stderr, flush=True,
        )  # fmt: skip
        return told


def remains(run: AttackedRun, recorded: list[Recorded]) -> Iterator[str]:
    """What is left and should not be, or is gone and should not be."""
    for pid, command in left_over(recorded).items():
        yield f"process {pid} is left: {command}"
    for pid in run.surroundings.marked():
        yield f"process {pid}, started below a daemon, is left"
    if run.bystander is not None and run.bystander.poll() is not None:
        yield f"the bystander is gone: {run.bystander.returncode}"
    for name in run.surroundings.changed_outside():
        yield f"changed outside of our directories: {name}"
    for problem in verify(run.surroundings.state).problems:
        yield f"the journal is damaged: {problem}"


def keep(root: Path) -> Path:
    """A copy of everything, for who looks into it."""
    copy = Path(tempfile.mkdtemp(prefix="serviceopt-chaos-broken-"))
    shutil.copytree(root, copy, dirs_exist_ok=True, symlinks=True, ignore=shutil.ignore_patterns("ballast", "s", "n"))
    return copy


def main() -> int:
    """Runs what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int)
    parser.add_argument("--iterations", type=int, default=4, help="of each run: four configurations are one")
    parser.add_argument("--json", action="store_true", dest="as_json")
    asked = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: enough.set())
    began, told = time.monotonic(), Told()
    most = min(MOST_KILLS, -(-asked.kills // len(STRATEGIES)))
    with ThreadPoolExecutor(len(STRATEGIES)) as pool:
        needed = STRATEGIES if asked.only is None else (STRATEGIES[asked.only % len(STRATEGIES)],)
        untouched = pool.map(lambda each: uninterrupted(each, asked.seed, asked.iterations), needed)
        wholes = dict(zip(needed, untouched, strict=True))

        def one(number: int) -> Told:
            whole = wholes[STRATEGIES[number % len(STRATEGIES)]]
            return attacked(asked.seed, number, most, asked.iterations, whole)

        for first in itertools.count(0, len(STRATEGIES)) if asked.only is None else (None,):
            numbers = [asked.only] if first is None else [first + each for each in range(len(STRATEGIES))]
            for each in pool.map(one, numbers):
                told.add(each)
            if sum(told.kills.values()) >= asked.kills:
                break
    show(told, time.monotonic() - began, as_json=asked.as_json)
    return 1 if told.broken else 0


def show(told: Told, seconds: float, *, as_json: bool) -> None:
    """Prints the counts."""
    if as_json:
        document = {
            "kills": told.kills, "phases": told.phases, "acts": told.acts, "counts": told.counts, "broken": told.broken,
            "seconds": round(seconds),
        }  # fmt: skip
        print(json.dumps(document))
        return
    for line in told.broken:
        print(f"BROKEN: {line}")
    for title, counted in (("how", told.kills), ("after", told.phases), ("beside", told.acts), ("", told.counts)):
        for name, times in counted.most_common():
            print(f"{times:6} {title + ': ' if title else ''}{name}")
    print(
        f"{sum(told.kills.values())} daemons killed, {sum(told.acts.values())} faults beside, in {told.counts['runs']} "
        f"runs: {len(told.broken)} broken; {seconds:.0f} s"
    )


if __name__ == "__main__":
    with contextlib.suppress(Stopped):
        sys.exit(main())
    sys.exit(130)
