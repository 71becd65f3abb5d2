"""Attacks each parser, and the API over its socket, with inputs that were changed at random; prints what was tried.

    python tests/fuzz/run.py --minutes 10                     # all of them, each for its share of the time
    python tests/fuzz/run.py --target guidellm --seed 7 --examples 500    # what a failure prints, to see it again

Each target has a process of its own, with a limit of memory (4 GiB) and of processor time. Exit status 1: a promise of
tests/fuzz/promise.py did not hold; the smallest input that shows it is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(TESTS)] if str(TESTS) not in sys.path else []

MEMORY = 4 * 2**30  # bytes of address space
SHOWN = 2000  # characters of an input that broke a promise
API = "API"


def attacked(name: str, *, seed: int, examples: int, until: float) -> tuple[Counter[str], str]:
    """What became of the inputs by kind, and how a promise was broken; "" where all held.

    Rounds of `examples` inputs, each with its own seed, until `until` (by the monotonic clock); at least one.
    """
    outcomes: Counter[str] = Counter()
    while True:
        if told := _round(name, seed, examples, outcomes):
            return outcomes, told
        seed += 1
        if time.monotonic() >= until:
            return outcomes, ""


def _round(name: str, seed: int, examples: int, outcomes: Counter[str]) -> str:
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded

    shown = ""
    with _attempts(name) as (inputs, attempt):

        @seeded(seed)
        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
            report_multiple_bugs=False,
            print_blob=False,
        )
        @given(inputs)
        def each(given_input: Any) -> None:
            nonlocal shown
            try:
                outcomes[attempt(given_input)] += 1
            except Exception as error:  # whatever it was: the smallest input that does it is told
                text = repr(given_input)
                cut = f"{text[: SHOWN // 2]} [...] {text[-SHOWN // 2 :]} ({len(text)} characters)"
                shown = f"{type(error).__name__}: {error}\ninput: {text if len(text) <= SHOWN else cut}"
                raise

        try:
            each()
        except Exception as error:  # noqa: BLE001 - it is told
            again = f"again: python tests/fuzz/run.py --target '{name}' --seed {seed} --examples {examples}"
            return f"{shown or repr(error)}\n{again}"
    return ""


@contextmanager
def _attempts(name: str) -> Iterator[tuple[Any, Any]]:
    if name == API:
        from fuzz.api import attacked_daemon

        with attacked_daemon() as found:
            yield found
        return
    from fuzz.targets import TARGETS, emptied

    target = TARGETS[name]
    with tempfile.TemporaryDirectory(prefix="serviceopt-fuzz-") as place:
        yield target.inputs(), lambda given: target.attempt(emptied(Path(place) / "x"), given)


def child(name: str, *, seed: int, examples: int, seconds: float) -> int:
    """Attacks one target within limits, and prints a line of JSON."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    outcomes, told = attacked(name, seed=seed, examples=examples, until=time.monotonic() + seconds)
    print(json.dumps({"outcomes": outcomes, "broken": told}))
    return int(bool(told))


def run(name: str, *, seed: int, examples: int, seconds: float) -> tuple[Counter[str], str]:
    """The same in a process of its own; one that dies or takes too long has broken a promise, too."""
    command = [sys.executable, __file__, "--child", "--target", name, "--seed", str(seed), "--examples", str(examples)]
    again = f"again: python tests/fuzz/run.py --target '{name}' --seed {seed} --examples {examples}"
    patience = seconds * 2 + 300
    try:
        done = subprocess.run(
            [*command, "--seconds", str(seconds)], check=False, capture_output=True, text=True, timeout=patience,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Counter(), f"no end within {patience:.0f} s\n{again}"
    try:
        told = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, json.JSONDecodeError):
        return Counter(), f"ended with {done.returncode}: {done.stderr[-3000:]}\n{again}"
    return Counter(told["outcomes"]), told["broken"]


def names() -> list[str]:
    """Every target."""
    from fuzz.targets import TARGETS

    return [*TARGETS, API]


def summary(name: str, outcomes: Counter[str]) -> str:
    """One line: how many inputs, and what became of them."""
    refused = {kind: count for kind, count in outcomes.most_common() if kind != "taken"}
    kinds = ", ".join(f"{count} {kind}" for kind, count in refused.items())
    return f"{name:26} {sum(outcomes.values()):8} inputs: {outcomes['taken']} taken" + (f", {kinds}" if kinds else "")


def main() -> int:
    """Runs one target or all of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=0.0, help="for all targets together")
    parser.add_argument("--target", action="append", help="one of them; may be repeated")
    parser.add_argument("--seed", type=int, default=None, help="by default another one each time, which is printed")
    parser.add_argument("--examples", type=int, default=200, help="inputs of one round")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=0.0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        return child(given.target[0], seed=given.seed, examples=given.examples, seconds=given.seconds)
    seed = int(time.time()) if given.seed is None else given.seed
    chosen = given.target or names()
    broken, tried = 0, 0
    for name in chosen:
        outcomes, told = run(name, seed=seed, examples=given.examples, seconds=given.minutes * 60 / len(chosen))
        tried += sum(outcomes.values())
        print(summary(name, outcomes), flush=True)
        if told:
            broken += 1
            print(told, flush=True)
    print(f"{tried} inputs, {len(chosen)} targets, {broken} of them with a broken promise (first seed {seed})")
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
