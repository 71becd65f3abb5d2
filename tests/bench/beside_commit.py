"""What users wait for, in this checkout and in another commit of it, in turn: nothing may get slower unnoticed.

    python tests/bench/beside_commit.py COMMIT [--rounds N] [--only NAME ...] [--json]

Both sides are clean checkouts, each with an environment of its own. Every round measures both, and who goes first
alternates. The ratio is that of the medians; the interval (Student's t on the log ratios of the pairs) says how far this
machine lets it be trusted. CPU seconds of the process and its children count: other work disturbs them least.

    help        `serviceoptctl --help`
    status      `serviceoptctl status` of a journal with one finished run, no daemon
    start       `serviceoptd` on that journal, until it answers; then SIGTERM, until it has ended
    replay      opening and folding a journal of the demo's events, repeated to EVENTS
    overhead    tests/bench/evaluation_overhead.py: wall seconds between two evaluations, outside engine and client
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median, stdev

from scipy.stats import t as student

ROOT = Path(__file__).resolve().parents[2]
EVENTS = 20_000
PATIENCE = 60.0  # seconds until the daemon must answer
REPLAY = """
import sys
from pathlib import Path
from serviceopt_journal.store import Journal
from serviceoptd.domain.evolve import fold
from serviceoptd.domain.state import State
state = State()
def replayed(record):
    global state
    state = fold(state, record)
Journal.open(Path(sys.argv[1]), on_event=replayed).close()
"""
LONGER = """
import sys
from pathlib import Path
import msgspec
from serviceopt_journal.reader import JournalReader
from serviceopt_journal.store import Journal
events = [record.event for record in JournalReader.open(Path(sys.argv[1])).events()]
first, rest = events[:-1], int(sys.argv[3])
with Journal.open(Path(sys.argv[2])) as journal:
    run = 0
    while rest > 0:
        run += 1
        again = [msgspec.structs.replace(each, run=run) if hasattr(each, "run") else each for each in first[:rest]]
        for start in range(0, len(again), 1000):
            journal.append(*again[start : start + 1000])
        rest -= len(again)
"""


@dataclass(frozen=True)
class Side:
    """One checkout with its environment."""

    checkout: Path
    binaries: Path
    state: Path
    long_journal: Path

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SERVICEOPT_", "PYTHON"))}
        return {**kept, "SERVICEOPT_STATE_DIR": str(self.state), "NO_COLOR": "1"}

    def run(self, *argv: str, cwd: Path | None = None) -> str:
        """Standard output of a program of this side.

        Raises:
            CalledProcessError: it failed; its output is printed.
        """
        done = subprocess.run(
            argv, env=self.environment, cwd=cwd or self.state.parent, capture_output=True, text=True, check=False
        )
        if done.returncode:
            print(done.stdout[-2000:], done.stderr[-2000:], file=sys.stderr)
            done.check_returncode()
        return done.stdout


def prepared(commit: str, place: Path) -> Side:
    """A clean checkout of the commit, installed, with the journal of a demo run and a longer one."""
    checkout, venv = place / "checkout", place / "venv"
    subprocess.run(["git", "clone", "--quiet", "--shared", str(ROOT), str(checkout)], check=True)
    subprocess.run(["git", "checkout", "--quiet", "--detach", commit], cwd=checkout, check=True)
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    pip = [str(venv / "bin/pip"), "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, f"{checkout}[test]"], check=True)
    (place / "work").mkdir()
    side = Side(checkout, venv / "bin", place / "work" / "state", place / "work" / "long")
    demo = str(checkout / "docs/examples/demo.toml")
    side.run(str(side.binaries / "serviceoptctl"), "run", "--standalone", "-c", demo)
    python = str(side.binaries / "python")
    side.long_journal.mkdir()
    side.run(python, "-c", LONGER, str(side.state), str(side.long_journal), str(EVENTS))
    return side


def seconds_of(side: Side, *argv: str) -> tuple[float, float]:
    """CPU and wall seconds of one program."""
    before, began = cpu_of_children(), time.monotonic()
    side.run(*argv)
    return cpu_of_children() - before, time.monotonic() - began


def cpu_of_children() -> float:
    """CPU seconds of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def showing_help(side: Side) -> tuple[float, float]:
    return seconds_of(side, str(side.binaries / "serviceoptctl"), "--help")


def status(side: Side) -> tuple[float, float]:
    return seconds_of(side, str(side.binaries / "serviceoptctl"), "status")


def replay(side: Side) -> tuple[float, float]:
    return seconds_of(side, str(side.binaries / "python"), "-c", REPLAY, str(side.long_journal))


def start(side: Side) -> tuple[float, float]:
    """CPU of the daemon's whole life, and wall seconds until its socket answers."""
    listens = side.state / "s"
    before, began = cpu_of_children(), time.monotonic()
    daemon = subprocess.Popen(
        [str(side.binaries / "serviceoptd"), "--state-dir", str(side.state), "--socket", str(listens)],
        env=side.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while not answers(listens):
            if daemon.poll() is not None or time.monotonic() - began > PATIENCE:
                raise SystemExit(f"the daemon of {side.checkout} does not answer")
            time.sleep(0.005)
        waited = time.monotonic() - began
    finally:
        with suppress(ProcessLookupError):
            daemon.send_signal(signal.SIGTERM)
        daemon.wait(PATIENCE)
    return cpu_of_children() - before, waited


def answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(path))
            connection.sendall(b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return connection.recv(12).startswith(b"HTTP/1.1 200")
        except OSError:
            return False


def overhead(side: Side) -> tuple[float, float]:
    bench = str(side.checkout / "tests/bench/evaluation_overhead.py")
    told = json.loads(side.run(str(side.binaries / "python"), bench, "--evaluations", "8", "--json"))
    seconds = float(told["median"])
    return seconds, seconds


MEASURED: dict[str, Callable[[Side], tuple[float, float]]] = {
    "help": showing_help, "status": status, "start": start, "replay": replay, "overhead": overhead
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """CPU and wall seconds of both sides, round by round."""

    name: str
    before: list[tuple[float, float]]
    now: list[tuple[float, float]]

    def table(self) -> dict[str, float | str]:
        logs = [math.log(now[0] / before[0]) for before, now in zip(self.before, self.now, strict=True)]
        half = float(student.ppf(0.975, len(logs) - 1)) * stdev(logs) / math.sqrt(len(logs))
        return {
            "what": self.name,
            "cpu_before": median(cpu for cpu, _ in self.before), "cpu_now": median(cpu for cpu, _ in self.now),
            "wall_before": median(wall for _, wall in self.before), "wall_now": median(wall for _, wall in self.now),
            "ratio": median(cpu for cpu, _ in self.now) / median(cpu for cpu, _ in self.before),
            "ratio_from": math.exp(fmean(logs) - half), "ratio_to": math.exp(fmean(logs) + half),
        }  # fmt: skip


def measured(name: str, sides: tuple[Side, Side], rounds: int) -> Row:
    found: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
    for side in sides:  # once each, not counted: caches of the disk and of Python
        MEASURED[name](side)
    for number in range(rounds):
        for index in (0, 1) if number % 2 else (1, 0):
            found[index].append(MEASURED[name](sides[index]))
    return Row(name, *found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", help="what to compare with")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--only", nargs="+", choices=MEASURED, default=list(MEASURED))
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="beside-commit-") as place:
        for name in ("before", "now"):
            (Path(place) / name).mkdir()
        sides = (prepared(given.commit, Path(place) / "before"), prepared("HEAD", Path(place) / "now"))
        rows = [measured(name, sides, given.rounds).table() for name in given.only]
    if given.json:
        print(json.dumps({"machine": f"{platform.machine()}, {os.cpu_count()} cores", "rows": rows}, indent=2))
        return
    print(f"{'':10}{'CPU before':>12}{'CPU now':>10}{'wall before':>13}{'wall now':>10}{'ratio':>8}   95 %")
    for row in rows:
        print(
            f"{row['what']:10}{row['cpu_before']:>10.3f} s{row['cpu_now']:>8.3f} s{row['wall_before']:>11.3f} s"
            f"{row['wall_now']:>8.3f} s{row['ratio']:>8.3f}   {row['ratio_from']:.3f} to {row['ratio_to']:.3f}"
        )


if __name__ == "__main__":
    main()
